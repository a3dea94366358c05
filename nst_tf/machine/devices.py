"""Where the arithmetic happens: choosing a device, naming it, its memory."""

import math
import os
import platform
import subprocess
from pathlib import Path

import tensorflow as tf

BFLOAT16 = "avx512_bf16", "amx_bf16"  # what multiplies it, as Linux has it
RESERVED = 1 << 29  # bytes of addresses that threads and allocators set aside


def select(name: str = "auto") -> None:
    """Makes TensorFlow use `auto`, `cpu`, `gpu` or `gpu:N`; call it first.

    `auto` and `gpu` take all GPUs there are: tiles are shared among them,
    a picture without tiles has the first. Memory is taken as it is needed.

    Raises:
      ValueError: there is no such device.
    """
    gpus = tf.config.list_physical_devices("GPU")
    kind, _, number = name.lower().partition(":")
    if kind not in ("auto", "cpu", "gpu") or (number and not number.isdigit()):
        raise ValueError(
            f'`device` should be auto, cpu, gpu or gpu:N; received "{name}".'
        )
    if kind == "gpu":
        if int(number or 0) >= len(gpus):
            raise ValueError(
                f'`device`: there is no "{name}"; TensorFlow sees {len(gpus)} '
                "GPUs. Use --device=cpu, or pip install "
                "'tensorflow[and-cuda]'."
            )
        gpus = [gpus[int(number)]] if number else gpus
    elif kind == "cpu":
        gpus = []
    tf.config.set_visible_devices(gpus, "GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)


def describe() -> str:
    """The device in words: `GPU NVIDIA H200`, `CPU, 2 cores`."""
    gpus = tf.config.get_visible_devices("GPU")
    if gpus:
        details = tf.config.experimental.get_device_details(gpus[0])
        return f"GPU {details.get('device_name', gpus[0].name)}"
    cores = (
        len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count()
    )
    return f"CPU {platform.machine()}, {cores} cores"


def is_gpu() -> bool:
    """Whether a GPU does the work."""
    return bool(tf.config.get_visible_devices("GPU"))


def precision(asked: str = "auto") -> str:
    """What `auto` means here: half precision where the hardware has it.

    NVIDIA GPUs from compute capability 8.0 multiply bfloat16, and from 7.0
    float16 (a T4 has 7.5); CPUs bfloat16 with AVX512_BF16 or AMX, as Linux
    tells.
    """
    if asked != "auto":
        return asked
    if is_gpu():
        gpu = tf.config.get_visible_devices("GPU")[0]
        details = tf.config.experimental.get_device_details(gpu)
        capability = details.get("compute_capability", (0, 0))
        if (7, 0) <= capability < (8, 0):
            return "mixed_float16"
        fast = capability >= (8, 0)
    else:
        fast = _processor_has(*BFLOAT16)
    return "mixed_bfloat16" if fast else "float32"


def transposed(asked: str = "auto", tiled: bool = False) -> tuple[bool, bool]:
    """How convolutions and their gradients are fastest in a precision here.

    Whether the one, and whether the other, should be computed as the gradient
    of the opposite convolution. oneDNN lays a kernel out anew for a gradient;
    for a convolution in float32 it takes it as it comes, at down to half the
    speed (docs/lab.md). In bfloat16 it is small pictures that gain;
    and of every shape of tile oneDNN keeps memory for the gradient.
    TensorFlow's own code is at its best with convolutions, and so may GPUs be.
    """
    if is_gpu() or not _uses_onednn():
        return False, False
    kind = precision(asked)
    if kind == "float32":
        return True, True
    native = kind == "mixed_bfloat16" and _processor_has(*BFLOAT16)
    return False, native and not tiled


def _uses_onednn() -> bool:
    """Whether TensorFlow computes with oneDNN: its rule on x86 Linux.

    Source: `DefaultOneDnnPolicy` in tensorflow/core/util/port.cc.
    """
    asked = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "").lower()
    if asked in ("0", "false", "1", "true"):
        return asked in ("1", "true")
    return _processor_has("avx512_vnni", "avx_vnni", *BFLOAT16)


def _processor_has(*features: str) -> bool:
    """Whether it has any of them; False where the system does not tell."""
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return bool(set(features) & set(flags))


def workers() -> list[str]:
    """Names of the devices that can share the work: all GPUs, or all CPUs."""
    kind = "GPU" if is_gpu() else "CPU"
    return [device.name for device in tf.config.list_logical_devices(kind)]


def available_memory() -> int | None:
    """Bytes that a run may take, None where the system does not tell.

    The GPU's; or the machine's, within the limits of cgroup and `ulimit -v`.
    """
    return _gpu_memory() if is_gpu() else _machine_memory()


def _gpu_memory() -> int | None:
    """Free bytes of the fullest GPU in the machine, as nvidia-smi has it."""
    query = ["--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    try:
        # A name, not a path: the driver installs it where it likes.
        told = subprocess.run(  # noqa: S603
            ["nvidia-smi", *query],  # noqa: S607
            capture_output=True,
            check=True,
            text=True,
            timeout=20,
        )
        return min(int(line) for line in told.stdout.split()) << 20
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def _machine_memory() -> int | None:
    try:
        text = Path("/proc/meminfo").read_text()
        kilobytes = int(text.split("MemAvailable:")[1].split()[0])
    except (OSError, IndexError, ValueError):
        return None
    available = kilobytes * 1024
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        group = Path("/sys/fs/cgroup")
        try:
            room = int((group / limit).read_text())
            room -= int((group / used).read_text())
        except (OSError, ValueError):  # no such group, or "max"
            continue
        available = min(available, room)
    return int(min(available, _address_space()))


def _address_space() -> float:
    """Bytes that `ulimit -v` leaves this process; infinite without one."""
    try:
        import resource  # there is none on Windows

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError, IndexError, ValueError):
        return math.inf
    if limit == resource.RLIM_INFINITY:
        return math.inf
    return max(0, limit - pages * resource.getpagesize() - RESERVED)
