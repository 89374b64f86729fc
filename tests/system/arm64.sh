#!/usr/bin/env bash
# Runs reidd as arm64 code, under qemu-user, in a minimal Debian: one inference on each backend, the stand-in for the
# Edge TPU, and a round trip through the daemon. It says that it works there; its speed says nothing.
#
# Needs root, qemu-user-static with binfmt, mmdebstrap and gcc-aarch64-linux-gnu; ends with 77 where they are missing.
set -euo pipefail

skip() {
    printf '\n!!! ARM64 WAS NOT TESTED: %s\n!!! apt install qemu-user-static mmdebstrap gcc-aarch64-linux-gnu\n\n' "$1" >&2
    exit 77
}

[ "$(id -u)" = 0 ] || skip "it needs root, for mounts"
for tool in mmdebstrap aarch64-linux-gnu-gcc qemu-aarch64-static unshare; do
    command -v "$tool" >/dev/null || skip "$tool is missing"
done

top=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-python3}
# A name space of its own: the mounts end with this script.
if [ -z "${REIDD_ARM64_INSIDE:-}" ]; then
    REIDD_ARM64_INSIDE=1 exec unshare --mount "$0" "$@"
fi
# A container that has no binfmt_misc may mount it; the entries are the kernel's, with flag F, so a chroot sees qemu.
[ -e /proc/sys/fs/binfmt_misc/status ] || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc 2>/dev/null || true
if [ ! -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ]; then
    /usr/lib/systemd/systemd-binfmt 2>/dev/null || update-binfmts --enable qemu-aarch64 2>/dev/null || true
fi
[ -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ] || skip "binfmt knows no qemu-aarch64"

root=$(mktemp -d)
trap 'umount -l -R "$root/proc" "$root/dev" "$root/sys" 2>/dev/null || true; rm -rf --one-file-system "$root"' EXIT
mmdebstrap --quiet --variant=extract --arch=arm64 --include=python3,libstdc++6 bookworm "$root" >/dev/null
"$python" -m pip wheel --quiet --no-deps --wheel-dir "$root/wheel" "$top"
"$python" -m pip install --quiet --target "$root/opt/reidd" --python-version 3.11 --only-binary=:all: \
    --platform manylinux_2_27_aarch64 --platform manylinux_2_28_aarch64 --platform manylinux2014_aarch64 \
    "$(echo "$root"/wheel/*.whl)[standard]" pytest
mkdir -p "$root"/{opt/tests,dev,proc,sys,tmp}
cp -r "$top/tests/fake_edgetpu" "$top/tests/system/arm64_check.py" "$root/opt/tests/"
aarch64-linux-gnu-gcc -O2 -shared -fPIC -o "$root/opt/tests/libfakeedgetpu.so" "$top/tests/fake_edgetpu/edgetpu.c"

mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
# LiteRT asks /proc/cpuinfo what the CPU can do, and crashes under qemu when it finds an x86 there.
for core in 0 1 2 3; do
    printf 'processor\t: %s\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm crc32 cpuid\nCPU implementer\t: 0x41\n' "$core"
    printf 'CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n\n'
done > "$root/cpuinfo"
mount --bind "$root/cpuinfo" "$root/proc/cpuinfo"

chroot=$(command -v chroot)
env -i PATH=/usr/bin:/bin HOME=/tmp QEMU_CPU=cortex-a72 PYTHONPATH=/opt/reidd:/opt/tests PYTHONDONTWRITEBYTECODE=1 \
    REIDD_FAKE_EDGETPU_LIBRARY=/opt/tests/libfakeedgetpu.so \
    "$chroot" "$root" /usr/bin/python3 /opt/tests/arm64_check.py
