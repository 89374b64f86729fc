# A minimal Debian that reidd runs in. Sourced, with the script's arguments, by what sets `subject` (what is tested),
# `tools` and `packages` (what that needs besides mmdebstrap).
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
python=${PYTHON:-python3}

skip() {
    printf '\n!!! %s WAS NOT TESTED: %s\n!!! apt install mmdebstrap %s\n\n' "$subject" "$1" "$packages" >&2
    exit 77
}

[ "$(id -u)" = 0 ] || skip "it needs root, for mounts"
for tool in mmdebstrap unshare $tools; do
    command -v "$tool" >/dev/null || skip "$tool is missing"
done
# A name space of its own: the mounts end with the script.
if [ -z "${REIDD_INSIDE:-}" ]; then
    REIDD_INSIDE=1 exec unshare --mount "$0" "$@"
fi

# make_debian PACKAGES [MMDEBSTRAP_OPTION...]: in $root, until the script ends.
make_debian() {
    root=$(mktemp -d)
    trap 'umount -l -R "$root/proc" "$root/dev" "$root/sys" 2>/dev/null || true; rm -rf --one-file-system "$root"' EXIT
    mmdebstrap --quiet --variant=extract --include="$1" "${@:2}" bookworm "$root" >/dev/null
    mkdir -p "$root"/{opt/tests,dev,proc,sys,tmp}
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount --rbind /sys "$root/sys"
}

# install_reidd EXTRA [PIP_ARGUMENT...]
install_reidd() {
    "$python" -m pip wheel --quiet --no-deps --wheel-dir "$root/wheel" "$top"
    "$python" -m pip install --quiet --target "$root/opt/reidd" --python-version 3.11 --only-binary=:all: \
        "${@:2}" "$(echo "$root"/wheel/*.whl)[$1]"
}

# inside PROGRAM [ARGUMENT...]: a Python program of /opt/tests, with the variables that $environment holds.
inside() {
    env -i PATH=/usr/bin:/bin HOME=/tmp PYTHONPATH=/opt/reidd:/opt/tests PYTHONDONTWRITEBYTECODE=1 "${environment[@]}" \
        "$(command -v chroot)" "$root" /usr/bin/python3 "/opt/tests/$1" "${@:2}"
}
