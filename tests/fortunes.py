"""Splits the fortunes into messages, checks histories against them, and prints the figures. Called by fortunes.sh.

split TEXTS DIR SENDER…            writes DIR/texts.SENDER, NUL-separated, and prints how many messages there are
check DIR "SENDER…" PEER…          compares DIR/history.PEER with what was said
figures DIR BEGIN SAID HELD LAST PEER…
"""

import json
import os
import sys

TEXT_LEN_MAX = 16_384  # bytes of one message


def texts_of(folder):
    """Every text, in the order of the files' names. Links and the indexes beside the texts are left out."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(parent, name)
            if name.endswith((".dat", ".u8")) or os.path.islink(path):
                continue
            with open(path, "rb") as file:
                yield from split_text(file.read())


def split_text(content):
    lines = []
    for line in content.split(b"\n") + [b"%"]:
        if line.rstrip(b"\r") != b"%":
            lines.append(line)
            continue
        text = b"\n".join(lines)
        if text.strip():
            yield from pieces(text)
        lines = []


def pieces(text):
    """A text over the limit goes as several messages, cut behind a line."""
    while len(text) > TEXT_LEN_MAX:
        cut = text.rfind(b"\n", 0, TEXT_LEN_MAX) + 1 or TEXT_LEN_MAX
        yield text[:cut]
        text = text[cut:]
    yield text


def split(texts, folder, *senders):
    messages = list(texts_of(texts))
    if not messages:
        sys.exit(f"{texts} holds no texts: install fortunes, or run with --install")
    for message in messages:
        message.decode("utf-8")
    share = -(-len(messages) // len(senders))
    for number, sender in enumerate(senders):
        with open(f"{folder}/texts.{sender}", "wb") as file:
            for message in messages[number * share : (number + 1) * share]:
                file.write(message + b"\0")
    print(len(messages))


def read_history(path):
    """author -> [(epoch, seq, text)], in the order in which the peer shows them."""
    feeds = {}
    for post in read_posts(path):
        feeds.setdefault(post["author"], []).append((post["epoch"], post["seq"], post["text"]))
    return feeds


def read_posts(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)["posts"]


def check(folder, senders, *peers):
    mistakes = []
    said, authors = {}, {}
    for sender in senders.split():
        with open(f"{folder}/texts.{sender}", "rb") as file:
            said[sender] = [text.decode("utf-8") for text in file.read().split(b"\0")[:-1]]
        with open(f"{folder}/{sender}/ready.json", encoding="utf-8") as file:
            authors[sender] = json.load(file)["id"]
    for peer in peers:
        history = read_history(f"{folder}/history.{peer}")
        mistakes += check_history(peer, history, said, authors)
        mistakes += check_acknowledged(folder, peer, history, authors, said)
        count = sum(len(posts) for posts in history.values())
        print(f"  peer {peer}: {count} posts of {len(history)} authors")
    orders = {peer: [post["id"] for post in read_posts(f"{folder}/history.{peer}")] for peer in peers}
    mistakes += [f"peer {peer} has another order than {peers[0]}" for peer in peers if orders[peer] != orders[peers[0]]]
    if mistakes:
        sys.exit("\n".join(mistakes))
    print("All histories are one: every text once, each author in order, byte for byte.")


def check_history(peer, history, said, authors):
    strangers = set(history) - set(authors.values())
    mistakes = [f"peer {peer} holds posts of {stranger}, who said nothing" for stranger in strangers]
    for sender, texts in said.items():
        posts = history.get(authors[sender], [])
        places = [(epoch, seq) for epoch, seq, _ in posts]
        if places != sorted(set(places)):
            mistakes.append(f"peer {peer} shows the posts of {sender} out of order or twice")
        held = [text for _, _, text in posts]
        if held != texts:
            wrong = [number for number, (a, b) in enumerate(zip(held, texts)) if a != b]
            where = wrong[0] if wrong else min(len(held), len(texts))
            mistakes.append(
                f"peer {peer} holds {len(held)} posts of {sender}, {len(texts)} were said; the first difference is at {where}"
            )
    return mistakes


def check_acknowledged(folder, peer, history, authors, said):
    mistakes = []
    for sender, author in authors.items():
        held = {f"{author[:8]}-{epoch}-{seq}" for epoch, seq, _ in history.get(author, [])}
        with open(f"{folder}/acknowledged.{sender}", encoding="utf-8") as file:
            acknowledged = {line.strip() for line in file}
        lost = sorted(acknowledged - held)
        if lost:
            mistakes.append(f"peer {peer} lacks {len(lost)} acknowledged posts of {sender}, the first is {lost[0]}")
        # A text that was said again with its key has the id that it had.
        if len(acknowledged) != len(said[sender]):
            mistakes.append(f"{sender} said {len(said[sender])} texts and was told {len(acknowledged)} ids")
    return mistakes


def figures(folder, begin, said, held, last, *peers):
    begin, said, held, last = map(float, (begin, said, held, last))
    sizes = [os.path.getsize(f"{folder}/{name}") for name in os.listdir(folder) if name.startswith("texts.")]
    count = len(read_posts(f"{folder}/history.{peers[0]}"))
    rows = [
        ("messages", f"{count:,}"),
        ("bytes of text", f"{sum(sizes) - count:,}"),
        ("said and acknowledged, three at once", f"{said - begin:.1f} s, {count / (said - begin):,.0f} messages/s"),
        ("until all six held everything, after that", f"{held - said:.1f} s"),
        ("until a seventh peer, started then, held it too", f"{last - held:.1f} s"),
        ("most memory of one peer", f"{max(memory(folder, peer) for peer in peers) / 1024:.1f} MiB"),
        ("disk of one peer", f"{disk(folder, peers[0]) / 2**20:.1f} MiB"),
    ]
    width = max(len(name) for name, _ in rows)
    print()
    for name, value in rows:
        print(f"| {name:<{width}} | {value} |")


def memory(folder, peer):
    """The highest resident size so far, KiB."""
    with open(f"{folder}/{peer}/pid", encoding="utf-8") as file:
        pid = file.read().strip()
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))


def disk(folder, peer):
    data = f"{folder}/{peer}/data"
    return sum(os.path.getsize(os.path.join(data, name)) for name in os.listdir(data))


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    {"split": split, "check": check, "figures": figures}[command](*arguments)
