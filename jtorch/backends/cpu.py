"""What the CPU can do, which XLA finds out by itself."""


def get_cpu_capability() -> str:
    """`DEFAULT`: XLA compiles for the CPU that is there."""
    return "DEFAULT"
