#!/usr/bin/env bash
# Runs the OpenCV backend on a real OpenCL device, in a minimal Debian whose OpenCL (PoCL) computes on the CPU. It says
# that the way through OpenCL works; its speed says nothing.
#
# Needs root and mmdebstrap; ends with 77 where they are missing.
set -euo pipefail

skip() {
    printf '\n!!! OPENCL WAS NOT TESTED: %s\n!!! apt install mmdebstrap\n\n' "$1" >&2
    exit 77
}

[ "$(id -u)" = 0 ] || skip "it needs root, for mounts"
for tool in mmdebstrap unshare; do
    command -v "$tool" >/dev/null || skip "$tool is missing"
done

top=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-python3}
# A name space of its own: the mounts end with this script.
if [ -z "${REIDD_OPENCL_INSIDE:-}" ]; then
    REIDD_OPENCL_INSIDE=1 exec unshare --mount "$0" "$@"
fi

root=$(mktemp -d)
trap 'umount -l -R "$root/proc" "$root/dev" "$root/sys" 2>/dev/null || true; rm -rf --one-file-system "$root"' EXIT
mmdebstrap --quiet --variant=extract --include=python3,pocl-opencl-icd,ocl-icd-libopencl1 bookworm "$root" >/dev/null
"$python" -m pip wheel --quiet --no-deps --wheel-dir "$root/wheel" "$top"
"$python" -m pip install --quiet --target "$root/opt/reidd" --python-version 3.11 --only-binary=:all: \
    "$(echo "$root"/wheel/*.whl)[opencv]"
mkdir -p "$root"/{opt/tests,dev,proc,sys,tmp}
cp "$top/tests/system/opencl_check.py" "$root/opt/tests/"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"

chroot=$(command -v chroot)
check() {
    # OpenCV looks for a GPU unless told otherwise.
    env -i PATH=/usr/bin:/bin HOME=/tmp PYTHONPATH=/opt/reidd PYTHONDONTWRITEBYTECODE=1 OPENCV_OPENCL_DEVICE=:CPU: \
        "${@:2}" "$chroot" "$root" /usr/bin/python3 /opt/tests/opencl_check.py "$1"
}
check refused
check runs OPENCV_DNN_OPENCL_ALLOW_ALL_DEVICES=1
