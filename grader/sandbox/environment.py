"""The literal environment of processes that run learner code."""

DEVICE = "KVDOJO_DEVICE"  # names the device for tensors in unconfined workers
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/nonexistent",
    "LC_ALL": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
    "OMP_THREAD_LIMIT": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # huge pages halve the cost of a fork where glibc and the kernel have them
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
