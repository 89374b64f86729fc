#!/usr/bin/env bash
# Runs reidd as arm64 code, under qemu-user, in a minimal Debian: one inference on each backend, the stand-in for the
# Edge TPU, and a round trip through the daemon. It says that it works there; its speed says nothing.
#
# Needs root, qemu-user-static with binfmt, mmdebstrap and gcc-aarch64-linux-gnu; ends with 77 where they are missing.
subject=ARM64 tools="aarch64-linux-gnu-gcc qemu-aarch64-static" packages="qemu-user-static gcc-aarch64-linux-gnu"
. "$(dirname "$0")/minimal_debian.sh"

# A container that has no binfmt_misc may mount it; the entries are the kernel's, with flag F, so a chroot sees qemu.
[ -e /proc/sys/fs/binfmt_misc/status ] || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc 2>/dev/null || true
if [ ! -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ]; then
    /usr/lib/systemd/systemd-binfmt 2>/dev/null || update-binfmts --enable qemu-aarch64 2>/dev/null || true
fi
[ -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ] || skip "binfmt knows no qemu-aarch64"

make_debian python3,libstdc++6 --arch=arm64
install_reidd standard pytest \
    --platform manylinux_2_27_aarch64 --platform manylinux_2_28_aarch64 --platform manylinux2014_aarch64
cp -r "$top/tests/fake_edgetpu" "$top/tests/system/arm64_check.py" "$root/opt/tests/"
aarch64-linux-gnu-gcc -O2 -shared -fPIC -o "$root/opt/tests/libfakeedgetpu.so" "$top/tests/fake_edgetpu/edgetpu.c"

# LiteRT asks /proc/cpuinfo what the CPU can do, and crashes under qemu when it finds an x86 there.
for core in 0 1 2 3; do
    printf 'processor\t: %s\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm crc32 cpuid\nCPU implementer\t: 0x41\n' "$core"
    printf 'CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n\n'
done > "$root/cpuinfo"
mount --bind "$root/cpuinfo" "$root/proc/cpuinfo"

environment=(QEMU_CPU=cortex-a72 REIDD_FAKE_EDGETPU_LIBRARY=/opt/tests/libfakeedgetpu.so)
inside arm64_check.py
