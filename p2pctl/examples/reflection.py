#!/usr/bin/env python3
"""Says something and reads the newest posts over gRPC, with nothing but what the daemon's reflection tells: no .proto
file, no generated code.

    pip install grpcio grpcio-reflection
    p2pctl/examples/reflection.py unix:/run/p2pd/p2pd.sock general "hello from Python"
"""

import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


class Service:
    """The calls of one service, by name: each takes the fields of its request."""

    def __init__(self, channel, name):
        self.channel = channel
        self.service = DescriptorPool(ProtoReflectionDescriptorDatabase(channel)).FindServiceByName(name)

    def __getattr__(self, name):
        method = self.service.methods_by_name[name]
        request = GetMessageClass(method.input_type)
        answer = GetMessageClass(method.output_type)
        kind = self.channel.unary_stream if method.server_streaming else self.channel.unary_unary
        call = kind(
            f"/{self.service.full_name}/{name}",
            request_serializer=request.SerializeToString,
            response_deserializer=answer.FromString,
        )
        return lambda **fields: call(request(**fields), timeout=10)


def main(endpoint, room, text):
    # For a socket gRPC would send its path as the name of the host, which is none.
    with grpc.insecure_channel(endpoint, options=[("grpc.default_authority", "localhost")]) as channel:
        chat = Service(channel, "p2p.v1.Chat")
        sent = chat.Send(post={"room": room, "text": text})
        print(f"sent as number {sent.id.seq}, at offset {sent.offset}")
        for response in chat.Watch(rooms=[room], last=5):
            for post in response.batch.posts:
                # repr, because what others say may hold anything, and a terminal obeys.
                print(post.offset, repr(post.author_petname or post.author_name), repr(post.text))
            if response.caught_up:
                return


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    try:
        main(sys.argv[1], sys.argv[2], " ".join(sys.argv[3:]))
    except grpc.RpcError as error:
        sys.exit(f"{error.code().name}: {error.details()}")
