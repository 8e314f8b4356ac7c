"""A second implementation of reading a published log, from the specifications alone: RFC 6962 hashes, C2SP signed-note,
tlog-checkpoint, tlog-tiles and tlog-proof. It shares no code with the binary that it judges."""

import base64
import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

TILE_WIDTH = 256
HASH_BYTES = 32
ED25519 = 1
PROOF_HEAD = "c2sp.org/tlog-proof@v1"


class Wrong(AssertionError):
    """The log, or what it said, is not what it must be."""


def demand(fact, what):
    if not fact:
        raise Wrong(what)


def leaf_hash(entry):
    return hashlib.sha256(b"\0" + entry).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


@dataclass(frozen=True)
class Checkpoint:
    size: int
    root: bytes


class VerifierKey:
    """A key in the text form of signed-note: `name+hash+base64(type, public key)`."""

    def __init__(self, text):
        # Base64 has a plus sign too; a name has none.
        self.name, key_id, encoded = text.strip().split("+", 2)
        encoded = base64.b64decode(encoded, validate=True)
        demand(encoded[0] == ED25519, "the key is not for Ed25519")
        self.key_id = hashlib.sha256(self.name.encode() + b"\n" + encoded).digest()[:4]
        demand(self.key_id.hex() == key_id, "the key's id does not fit the key")
        self.public = Ed25519PublicKey.from_public_bytes(encoded[1:])

    def open(self, note):
        """The checkpoint of a note that this key has signed."""
        text, _, signatures = note.rpartition("\n\n")
        text += "\n"
        demand(any(self._has_signed(text, line) for line in signatures.splitlines()), "the note is not signed by the log")
        origin, size, root, *_ = text.splitlines()
        demand(origin == self.name, "the checkpoint is another log's")
        return Checkpoint(int(size), base64.b64decode(root, validate=True))

    def _has_signed(self, text, line):
        dash, name, signature = line.split(" ")
        signature = base64.b64decode(signature, validate=True)
        if (dash, name, signature[:4]) != ("\N{EM DASH}", self.name, self.key_id):
            return False
        try:
            self.public.verify(signature[4:], text.encode())
        except InvalidSignature:
            raise Wrong("the log's signature does not fit its note") from None
        return True


class Frontier:
    """The whole subtrees of a growing tree, largest first: what its root is made of."""

    def __init__(self):
        self.size, self.subtrees = 0, []

    def push(self, leaf):
        self.size += 1
        self.subtrees.append(leaf)
        rest = self.size
        while rest % 2 == 0:
            right, left = self.subtrees.pop(), self.subtrees.pop()
            self.subtrees.append(node_hash(left, right))
            rest //= 2

    def root(self):
        if not self.subtrees:
            return hashlib.sha256(b"").digest()
        *others, root = self.subtrees
        for left in reversed(others):
            root = node_hash(left, root)
        return root


def inclusion_root(index, size, leaf, hashes):
    """The root to which an inclusion proof leads (RFC 9162, section 2.1.3.2)."""
    demand(index < size, "the record is not in a tree of that size")
    node, last, root = index, size - 1, leaf
    for sibling in hashes:
        demand(last > 0, "the proof is too long")
        if node % 2 or node == last:
            root = node_hash(sibling, root)
            while node % 2 == 0 and node:
                node, last = node >> 1, last >> 1
        else:
            root = node_hash(root, sibling)
        node, last = node >> 1, last >> 1
    demand(last == 0, "the proof is too short")
    return root


def check_proof(text, key, leaf):
    """Holds a file of evidence against the key and a leaf's hash; gives the index that is proven."""
    head, *lines = text.split("\n\n", 1)[0].splitlines()
    demand(head == PROOF_HEAD, "this is no proof")
    lines = [line for line in lines if not line.startswith("extra ")]
    index = int(lines[0].removeprefix("index "))
    checkpoint = key.open(text.split("\n\n", 1)[1])
    hashes = [base64.b64decode(line, validate=True) for line in lines[1:]]
    demand(inclusion_root(index, checkpoint.size, leaf, hashes) == checkpoint.root, f"record {index} is not proven")
    return index


def tile_path(level, number, width):
    parts = [f"{number % 1000:03}"]
    while number := number // 1000:
        parts.insert(0, f"x{number % 1000:03}")
    partial = f".p/{width}" if width < TILE_WIDTH else ""
    return f"tile/{level}/{'/'.join(parts)}{partial}"


def entries_of(bundle):
    entries = []
    while bundle:
        length = int.from_bytes(bundle[:2], "big")
        demand(len(bundle) >= 2 + length, "an entry bundle ends within an entry")
        entries.append(bundle[2 : 2 + length])
        bundle = bundle[2 + length :]
    return entries


class FullReader:
    """Reads every entry of a published log and follows it while it grows.

    It only ever adds to its tree, so that a checkpoint whose root fits is an extension of all that it has seen."""

    def __init__(self, fetch, key):
        self.fetch, self.key = fetch, key
        self.frontier, self.leaves, self.checkpoints = Frontier(), [], 0

    def take_in(self, leaf):
        self.leaves.append(leaf)
        self.frontier.push(leaf)

    def follow(self):
        """Reads up to the present checkpoint and gives the new entries, with the index of the first."""
        checkpoint = self.key.open(self.fetch("checkpoint").decode())
        first = self.frontier.size
        demand(checkpoint.size >= first, f"the log has shrunk from {first} to {checkpoint.size} records")
        entries = []
        for number in range(first // TILE_WIDTH, -(-checkpoint.size // TILE_WIDTH)):
            entries += self._tile(number, checkpoint.size)
        demand(self.frontier.size == checkpoint.size, "the entry bundles do not hold the whole tree")
        demand(self.frontier.root() == checkpoint.root, f"the root at {checkpoint.size} is not that of the entries")
        self.checkpoints += 1
        return first, entries

    def _tile(self, number, size):
        """Takes in what is new in one bundle, and holds the tile of its hashes against it."""
        start = number * TILE_WIDTH
        width = min(size - start, TILE_WIDTH)
        entries = entries_of(self.fetch(tile_path("entries", number, width)))
        demand(len(entries) == width, f"bundle {number} has {len(entries)} entries, not {width}")
        hashes = [leaf_hash(entry) for entry in entries]
        demand(self.fetch(tile_path(0, number, width)) == b"".join(hashes), f"tile {number} does not fit its bundle")
        new = self.frontier.size - start
        demand(self.leaves[start:] == hashes[:new], f"bundle {number} has changed")
        for leaf in hashes[new:]:
            self.take_in(leaf)
        return entries[new:]
