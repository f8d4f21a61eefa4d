"""How an image was made.

Inside of the image, `meta/provenance.json` holds what it was made from: the `buildDefinition` of SLSA's
provenance, without times, names of machines and versions of tools, so that the same inputs give the same
image everywhere. Beside the image a whole statement says this again, with the image's digest, times, tools,
and what `verify` saw: https://in-toto.io/Statement/v1, https://slsa.dev/spec/v1.0/provenance.
"""

from launcher.builder.provenance.claim import (
    LARGEST,
    LOCK,
    Claim,
    Definition,
    Verified,
    beside,
    read,
    read_inputs,
)
from launcher.builder.provenance.statement import build_definition, inputs, key, statement, written

__all__ = [
    "LARGEST",
    "LOCK",
    "Claim",
    "Definition",
    "Verified",
    "beside",
    "build_definition",
    "inputs",
    "key",
    "read",
    "read_inputs",
    "statement",
    "written",
]
