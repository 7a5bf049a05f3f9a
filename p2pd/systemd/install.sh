#!/usr/bin/env bash
# Puts everything where a system looks for it, takes it away again, or makes a Debian package of it.
# Called by `make install`, `make uninstall` and `make deb`, which say where: BIN_DIR, DESTDIR, PREFIX, SYSCONFDIR.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
prefix=${PREFIX:-/usr/local}
sysconfdir=${SYSCONFDIR:-/etc}
root=${DESTDIR:-}
share=$root$prefix/share
config=$root$sysconfdir/p2pd/config.yaml

# Everything that is installed but the configuration and the manual, as `target source mode`.
plain_files() {
    local bin=$1 made=$2
    echo "$root$prefix/bin/p2pd $bin/p2pd 755"
    echo "$root$prefix/bin/p2pctl $bin/p2pctl 755"
    echo "$root$prefix/lib/systemd/system/p2pd.service $made/p2pd.service 644"
    echo "$root$prefix/lib/sysusers.d/p2pd.conf $here/p2pd.sysusers 644"
    local program
    for program in p2pd p2pctl; do
        echo "$share/bash-completion/completions/$program $made/$program.bash 644"
        echo "$share/zsh/site-functions/_$program $made/$program.zsh 644"
        echo "$share/fish/vendor_completions.d/$program.fish $made/$program.fish 644"
    done
    echo "$share/doc/p2pd/README.md $top/README.md 644"
    echo "$share/doc/p2pd/SECURITY.md $top/SECURITY.md 644"
    echo "$share/doc/p2pd/copyright $top/LICENSE 644"
    echo "$share/doc/p2pd/example-config.yaml $top/example-config.yaml 644"
}

# What the programs write themselves: manual and completions.
make_texts() {
    local bin=$1 made=$2 program shell
    mkdir -p "$made/man"
    for program in p2pd p2pctl; do
        "$bin/$program" man "$made/man"
        for shell in bash zsh fish; do
            "$bin/$program" completions "$shell" >"$made/$program.$shell"
        done
    done
    sed "s#/usr/bin/p2pd#$prefix/bin/p2pd#" "$here/p2pd.service" >"$made/p2pd.service"
}

put_files() {
    local bin=$1 made=$2 target source mode page
    while read -r target source mode; do
        install -D -m "$mode" "$source" "$target"
    done < <(plain_files "$bin" "$made")
    for page in "$made"/man/*; do
        install -D -m 644 "$page" "$share/man/man${page##*.}/${page##*/}"
    done
}

install_all() {
    local bin=${BIN_DIR:?says where the built programs are} made
    made=$(mktemp -d)
    # shellcheck disable=SC2064 # The folder of now.
    trap "rm -rf '$made'" EXIT
    make_texts "$bin" "$made"
    put_files "$bin" "$made"
    # A configuration that is there belongs to the operator.
    if [ ! -e "$config" ]; then
        install -D -m 644 "$top/example-config.yaml" "$config"
    fi
}

uninstall_all() {
    local target rest
    while read -r target rest; do
        rm -f "$target"
    done < <(plain_files bin made)
    rm -f "$share"/man/man1/p2pctl.1 "$share"/man/man1/p2pctl-*.1 "$share"/man/man5/p2pd.yaml.5 \
        "$share"/man/man8/p2pd.8 "$share"/man/man8/p2pd-*.8
    rmdir "$share/doc/p2pd" 2>/dev/null || true
    if [ -e "$config" ]; then
        echo "left: $config, and the data in /var/lib/p2pd if there is any"
    fi
}

# The newest symbol of the C library that the programs ask for.
libc_version() {
    grep -aoh 'GLIBC_2\.[0-9]*' "$@" | sort -uV | tail -n 1 | sed 's/GLIBC_//'
}

write_control() {
    local control=$1 version=$2 arch=$3 libc=$4 kib=$5
    cat >"$control/control" <<CONTROL
Package: p2pd
Version: $version
Architecture: $arch
Maintainer: The p2pd developers <p2pd@localhost>
Installed-Size: $kib
Depends: libc6 (>= $libc), libgcc-s1, systemd | systemd-standalone-sysusers
Section: net
Priority: optional
Description: group chat without a server
 A daemon for every machine and a client for every terminal. Peers find each
 other, link over encrypted connections, and keep one shared, signed history.
 .
 The service is not started by itself: systemctl enable --now p2pd
CONTROL
    echo "$sysconfdir/p2pd/config.yaml" >"$control/conffiles"
    cat >"$control/postinst" <<'SCRIPT'
#!/bin/sh
set -e
if [ "$1" = configure ]; then
    systemd-sysusers p2pd.conf
    if [ -d /run/systemd/system ]; then
        systemctl daemon-reload
        # Behind an upgrade, the new program goes on where the old one was.
        [ -z "$2" ] || systemctl try-restart p2pd.service
    fi
fi
SCRIPT
    cat >"$control/prerm" <<'SCRIPT'
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
    systemctl disable --now p2pd.service
fi
SCRIPT
    cat >"$control/postrm" <<'SCRIPT'
#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
if [ "$1" = purge ] && [ -d /var/lib/p2pd ]; then
    echo "identity and history are left in /var/lib/p2pd: remove them by hand"
fi
SCRIPT
    chmod 755 "$control/postinst" "$control/prerm" "$control/postrm"
}

make_deb() {
    local out=${DEB_DIR:-$top/target/deb} version arch tree kib
    version=$(sed -n '/^\[workspace.package\]/,/^\[/ s/^version = "\(.*\)"/\1/p' "$top/Cargo.toml")
    arch=$(dpkg --print-architecture)
    mkdir -p "$out"
    tree=$(mktemp -d "$out/tree.XXXXXX")
    chmod 755 "$tree"
    (umask 022 && DESTDIR=$tree PREFIX=/usr "$here/install.sh" install)
    # Where Debian's zsh looks.
    mv "$tree/usr/share/zsh/site-functions" "$tree/usr/share/zsh/vendor-completions"
    find "$tree/usr/share/man" -type f -exec gzip -9n {} +
    kib=$(du -sk "$tree" | cut -f 1)
    mkdir "$tree/DEBIAN"
    chmod 755 "$tree/DEBIAN"
    write_control "$tree/DEBIAN" "$version" "$arch" "$(libc_version "$tree"/usr/bin/*)" "$kib"
    (cd "$tree" && find usr -type f -print0 | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
    dpkg-deb --root-owner-group -Z"${DEB_COMPRESSION:-xz}" --build "$tree" "$out/p2pd_${version}_$arch.deb" >/dev/null
    rm -rf "$tree"
    echo "$out/p2pd_${version}_$arch.deb"
}

case "${1:-}" in
    install) install_all ;;
    uninstall) uninstall_all ;;
    deb) make_deb ;;
    *)
        echo "usage: $0 install|uninstall|deb" >&2
        exit 2
        ;;
esac
