"""GPUs, as JAX sees them: honest answers to what scripts ask before they choose a device, and while they run.

This is the index. What only a GPU has raises where there is none; streams and events do no harm.
"""

from jtorch.cuda import memory as memory
from jtorch.cuda.devices import can_device_access_peer as can_device_access_peer
from jtorch.cuda.devices import current_device as current_device
from jtorch.cuda.devices import device as device
from jtorch.cuda.devices import device_count as device_count
from jtorch.cuda.devices import device_of as device_of
from jtorch.cuda.devices import get_arch_list as get_arch_list
from jtorch.cuda.devices import get_device_capability as get_device_capability
from jtorch.cuda.devices import get_device_name as get_device_name
from jtorch.cuda.devices import get_device_properties as get_device_properties
from jtorch.cuda.devices import init as init
from jtorch.cuda.devices import is_available as is_available
from jtorch.cuda.devices import is_bf16_supported as is_bf16_supported
from jtorch.cuda.devices import is_initialized as is_initialized
from jtorch.cuda.devices import is_tf32_supported as is_tf32_supported
from jtorch.cuda.devices import set_device as set_device
from jtorch.cuda.devices import synchronize as synchronize
from jtorch.cuda.memory import OutOfMemoryError as OutOfMemoryError
from jtorch.cuda.memory import empty_cache as empty_cache
from jtorch.cuda.memory import ipc_collect as ipc_collect
from jtorch.cuda.memory import max_memory_allocated as max_memory_allocated
from jtorch.cuda.memory import max_memory_cached as max_memory_cached
from jtorch.cuda.memory import max_memory_reserved as max_memory_reserved
from jtorch.cuda.memory import mem_get_info as mem_get_info
from jtorch.cuda.memory import memory_allocated as memory_allocated
from jtorch.cuda.memory import memory_cached as memory_cached
from jtorch.cuda.memory import memory_reserved as memory_reserved
from jtorch.cuda.memory import memory_stats as memory_stats
from jtorch.cuda.memory import memory_summary as memory_summary
from jtorch.cuda.memory import reset_accumulated_memory_stats as reset_accumulated_memory_stats
from jtorch.cuda.memory import reset_max_memory_allocated as reset_max_memory_allocated
from jtorch.cuda.memory import reset_max_memory_cached as reset_max_memory_cached
from jtorch.cuda.memory import reset_peak_memory_stats as reset_peak_memory_stats
from jtorch.cuda.memory import set_per_process_memory_fraction as set_per_process_memory_fraction
from jtorch.cuda.seeds import get_rng_state as get_rng_state
from jtorch.cuda.seeds import get_rng_state_all as get_rng_state_all
from jtorch.cuda.seeds import initial_seed as initial_seed
from jtorch.cuda.seeds import manual_seed as manual_seed
from jtorch.cuda.seeds import manual_seed_all as manual_seed_all
from jtorch.cuda.seeds import seed as seed
from jtorch.cuda.seeds import seed_all as seed_all
from jtorch.cuda.seeds import set_rng_state as set_rng_state
from jtorch.cuda.seeds import set_rng_state_all as set_rng_state_all
from jtorch.cuda.streams import Event as Event
from jtorch.cuda.streams import Stream as Stream
from jtorch.cuda.streams import StreamContext as StreamContext
from jtorch.cuda.streams import current_stream as current_stream
from jtorch.cuda.streams import default_stream as default_stream
from jtorch.cuda.streams import is_current_stream_capturing as is_current_stream_capturing
from jtorch.cuda.streams import set_stream as set_stream
from jtorch.cuda.streams import stream as stream
