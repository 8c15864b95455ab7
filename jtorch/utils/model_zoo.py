"""`hub.load_state_dict_from_url`, under its old name."""

from jtorch.hub import load_state_dict_from_url as load_url

__all__ = ["load_url"]
