#!/usr/bin/env bash
# Runs the OpenCV backend on a real OpenCL device, in a minimal Debian whose OpenCL (PoCL) computes on the CPU. It says
# that the way through OpenCL works; its speed says nothing.
#
# Needs root and mmdebstrap; ends with 77 where they are missing.
subject=OPENCL tools="" packages=""
. "$(dirname "$0")/minimal_debian.sh"

make_debian python3,pocl-opencl-icd,ocl-icd-libopencl1
install_reidd opencv
cp "$top/tests/system/opencl_check.py" "$root/opt/tests/"

# OpenCV looks for a GPU unless told otherwise.
environment=(OPENCV_OPENCL_DEVICE=:CPU:)
inside opencl_check.py refused
environment+=(OPENCV_DNN_OPENCL_ALLOW_ALL_DEVICES=1)
inside opencl_check.py runs
