"""Reads a published log with code that others wrote, and says whether it is whole: every entry, every tile, the
checkpoint and, where a witness is named, its cosignature. It shares no code with Testimony."""

import argparse
import pathlib
import random
import sys

SAMPLES = 16


class Rejected(Exception):
    """The log is not what it claims to be."""


def require(fact, otherwise):
    if not fact:
        raise Rejected(otherwise)


def with_tlog_scales(log, vkey, witness, dice):
    from tlog_scales.backend import LocalBackend
    from tlog_scales.reader import TilesReader
    from tlog_scales.signing import Vkey
    from tlog_scales.tiles import leaf_hash

    reader = TilesReader(LocalBackend(log))
    checkpoint = reader.get_checkpoint()
    checkpoint.verify(Vkey.from_string(vkey))
    if witness:
        checkpoint.verify(Vkey.from_string(witness))
    # It reads a checkpoint in spellings that mean the same, and the signature is over the one that it writes.
    spelled = checkpoint.serialize().encode()
    require(spelled == (log / "checkpoint").read_bytes(), "the checkpoint is not spelled as it should be")
    require(checkpoint.origin == Vkey.from_string(vkey).name, "the checkpoint is of another log")

    size, root = checkpoint.size, checkpoint.root_hash
    for index in range(size):
        is_in_tree = leaf_hash(reader.get_entry(index)) == reader.mth(index, index + 1)
        require(is_in_tree, f"entry {index} is not the one in the tree")
    _fold_tiles_of_scales(reader, size)
    require(reader.calculate_root_hash() == root, "the tiles do not lead to the signed root")

    indexes, sizes = _indexes(size, dice), _older_sizes(size, dice)
    for index in indexes:
        reader.get_inclusion_proof(index, size).check(leaf_hash(reader.get_entry(index)), root)
    for older in sizes:
        reader.get_consistency_proof(older, size).check(reader.mth(0, older), root)
    return size, indexes, sizes


def _fold_tiles_of_scales(reader, size):
    """It takes the hash of a full tile from the tile above and never looks below, so each is computed here."""
    from tlog_scales.utils import sha256

    span = 256
    while span <= size:
        for start in range(0, size - span + 1, span):
            middle, end = start + span // 2, start + span
            folded = sha256(b"\x01" + reader.mth(start, middle) + reader.mth(middle, end))
            require(folded == reader.mth(start, end), f"the tile above records {start} to {end} is not over them")
        span *= 256


def with_aics_tlog(log, vkey, witness, dice):
    import aics_tlog as tlog

    key = tlog.parse_vkey(vkey)
    witnesses = [tlog.parse_vkey(witness)] if witness else []
    note = tlog.parse_note((log / "checkpoint").read_bytes())
    seen = tlog.verify_checkpoint(note, key, witnesses, len(witnesses), expected_origin=key.name)
    require(seen.ok, seen.error)

    size, root = seen.size, seen.root
    files = tlog.FileSystemTileReader(log)
    tlog.verified.audit_tiles(files, size, root)

    # Every hash that it hands out has been proven to be in the tree before.
    reader = tlog.VerifiedTileReader(files, size, root)
    indexes, sizes = _indexes(size, dice), _older_sizes(size, dice)
    for index in indexes:
        proof = tlog.inclusion_proof_from_tiles(reader, index, size)
        is_in_tree = tlog.verify_leaf_inclusion(reader.entry(index), index, size, proof, root)
        require(is_in_tree, f"record {index} is not in the tree")
    for older in sizes:
        proof = tlog.consistency_proof_from_tiles(reader, older, size)
        older_root = tlog.tree_root_from_tiles(reader, older, size)
        is_kept = tlog.verify_consistency(older, size, older_root, root, proof)
        require(is_kept, f"the tree of {older} records was not kept")
    return size, indexes, sizes


TOOLS = {"tlog-scales": with_tlog_scales, "aics-tlog": with_aics_tlog}


def _indexes(size, dice):
    return _draw(0, size - 1, dice, 255, 256, 65_535, 65_536)


def _older_sizes(size, dice):
    return _draw(1, size, dice, 255, 256, 257, 65_536, 65_537, size - 1)


def _draw(first, last, dice, *edges):
    """The first, the last, those of the edges that lie between, and some by chance."""
    between = [edge for edge in edges if first < edge < last]
    return [first, last, *between, *(dice.randint(first, last) for _ in range(SAMPLES))]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tool", choices=TOOLS)
    parser.add_argument("log", type=pathlib.Path, help="the directory with `checkpoint` and `tile`")
    parser.add_argument("vkey", help="the log's public key")
    parser.add_argument("--witness", metavar="VKEY", help="who must have cosigned")
    parser.add_argument("--seed", type=int, default=1, help="draws the records and the older sizes that are proven")
    asked = parser.parse_args()
    try:
        size, indexes, sizes = TOOLS[asked.tool](asked.log, asked.vkey, asked.witness, random.Random(asked.seed))
    except ImportError as error:
        sys.exit(f"{error}: pip install --ignore-requires-python -r tests/interop/requirements.txt")
    except Exception as error:
        # On bytes that are not as they should be both raise whatever comes, an IndexError among it.
        sys.exit(f"rejected: {type(error).__name__}: {error}")
    proven = f"{len(indexes)} proven to be in, {len(sizes)} older sizes proven to be kept"
    print(f"{asked.tool}: good: {size} records, {proven}")


if __name__ == "__main__":
    main()
