"""The index of torch.export: modules as programs that run with JAX alone."""

from jtorch.export.programs import Dim as Dim
from jtorch.export.programs import ExportedProgram as ExportedProgram
from jtorch.export.programs import export as export
from jtorch.export.programs import load as load
from jtorch.export.programs import save as save
