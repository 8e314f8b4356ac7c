// Check reads a published log with the Merkle tree and note code of Go's checksum database, and says whether the log
// is whole: every entry, every tile and the signed checkpoint. It shares no code with Testimony.
//
// Usage: check [-seed N] DIRECTORY VKEY
package main

import (
	"encoding/base64"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
	samples    = 64
)

func main() {
	seed := flag.Int64("seed", 1, "draws the records and the old sizes that are proven")
	flag.Parse()
	if flag.NArg() != 2 {
		fmt.Fprintln(os.Stderr, "usage: check [-seed N] DIRECTORY VKEY")
		os.Exit(2)
	}
	verdict, err := check(folder(flag.Arg(0)), flag.Arg(1), rand.New(rand.NewSource(*seed)))
	if err != nil {
		fmt.Fprintln(os.Stderr, "rejected:", err)
		os.Exit(1)
	}
	fmt.Println(verdict)
}

func check(log folder, vkey string, dice *rand.Rand) (string, error) {
	tree, err := log.checkpoint(vkey)
	if err != nil {
		return "", err
	}
	// It hands out no hash before the tiles that hold it have led to the signed root.
	hashes := tlog.TileHashReader(tree, log)
	if err := log.checkEntries(tree, hashes); err != nil {
		return "", err
	}
	records, err := checkInclusion(tree, hashes, dice)
	if err != nil {
		return "", err
	}
	sizes, err := checkConsistency(tree, hashes, dice)
	if err != nil {
		return "", err
	}
	proven := fmt.Sprintf("%d proven to be in, %d older sizes proven to be kept", records, sizes)
	return fmt.Sprintf("go: good: %d records, %s", tree.N, proven), nil
}

// folder is a published log: what tlog-tiles says that a log serves, as files.
type folder string

func (log folder) read(parts ...string) ([]byte, error) {
	return os.ReadFile(filepath.Join(string(log), filepath.Join(parts...)))
}

// checkpoint gives the tree that the key's owner has signed.
func (log folder) checkpoint(vkey string) (tlog.Tree, error) {
	var tree tlog.Tree
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return tree, err
	}
	signed, err := log.read("checkpoint")
	if err != nil {
		return tree, err
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return tree, err
	}
	// The last bits of a signature's base64 stand for nothing, and Open lets them be anything.
	if _, err := base64.StdEncoding.Strict().DecodeString(opened.Sigs[0].Base64); err != nil {
		return tree, fmt.Errorf("signature: %w", err)
	}
	return parseTree(opened.Text, verifier.Name())
}

func parseTree(text, origin string) (tlog.Tree, error) {
	var tree tlog.Tree
	lines := strings.Split(text, "\n")
	if len(lines) < 4 || lines[0] != origin {
		return tree, fmt.Errorf("no checkpoint of %s: %q", origin, text)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 1 || strconv.FormatInt(size, 10) != lines[1] {
		return tree, fmt.Errorf("no size of a log that can be checked: %q", lines[1])
	}
	root, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: root}, err
}

func (log folder) Height() int { return tileHeight }

func (log folder) SaveTiles([]tlog.Tile, [][]byte) {}

func (log folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		data, err := log.read("tile", strconv.Itoa(tile.L), number(tile.N, tile.W))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

// number is the end of a path: tlog-tiles has no element for the height, otherwise tile.Path would do.
func number(n int64, width int) string {
	path := fmt.Sprintf("%03d", n%1000)
	for n /= 1000; n > 0; n /= 1000 {
		path = fmt.Sprintf("x%03d/%s", n%1000, path)
	}
	if width < tileWidth {
		path = fmt.Sprintf("%s.p/%d", path, width)
	}
	return path
}

// checkEntries hashes every entry. With that every tile is read too: a level-0 tile is checked against all above it.
func (log folder) checkEntries(tree tlog.Tree, hashes tlog.HashReader) error {
	for first := int64(0); first < tree.N; first += tileWidth {
		width := tree.N - first
		if width > tileWidth {
			width = tileWidth
		}
		var stored []int64
		for index := first; index < first+width; index++ {
			stored = append(stored, tlog.StoredHashIndex(0, index))
		}
		expected, err := hashes.ReadHashes(stored)
		if err != nil {
			return err
		}
		if err := log.checkBundle(first/tileWidth, expected); err != nil {
			return err
		}
	}
	return nil
}

func (log folder) checkBundle(n int64, expected []tlog.Hash) error {
	path := number(n, len(expected))
	rest, err := log.read("tile", "entries", path)
	if err != nil {
		return err
	}
	for i, hash := range expected {
		if len(rest) < 2 || len(rest)-2 < int(binary.BigEndian.Uint16(rest)) {
			return fmt.Errorf("entry bundle %s ends within entry %d", path, i)
		}
		end := 2 + int(binary.BigEndian.Uint16(rest))
		if tlog.RecordHash(rest[2:end]) != hash {
			return fmt.Errorf("entry %d of bundle %s is not the one in the tree", i, path)
		}
		rest = rest[end:]
	}
	if len(rest) != 0 {
		return fmt.Errorf("entry bundle %s goes on after its last entry", path)
	}
	return nil
}

func checkInclusion(tree tlog.Tree, hashes tlog.HashReader, dice *rand.Rand) (int, error) {
	indexes := draw(0, tree.N-1, dice, tileWidth-1, tileWidth, 1<<16-1, 1<<16)
	for _, index := range indexes {
		leaf, err := hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, index)})
		if err != nil {
			return 0, err
		}
		proof, err := tlog.ProveRecord(tree.N, index, hashes)
		if err != nil {
			return 0, err
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, leaf[0]); err != nil {
			return 0, fmt.Errorf("record %d: %w", index, err)
		}
	}
	return len(indexes), nil
}

func checkConsistency(tree tlog.Tree, hashes tlog.HashReader, dice *rand.Rand) (int, error) {
	sizes := draw(1, tree.N, dice, tileWidth-1, tileWidth, tileWidth+1, 1<<16, 1<<16+1, tree.N-1)
	for _, size := range sizes {
		root, err := tlog.TreeHash(size, hashes)
		if err != nil {
			return 0, err
		}
		proof, err := tlog.ProveTree(tree.N, size, hashes)
		if err != nil {
			return 0, err
		}
		if err := tlog.CheckTree(proof, tree.N, tree.Hash, size, root); err != nil {
			return 0, fmt.Errorf("size %d: %w", size, err)
		}
	}
	return len(sizes), nil
}

// draw gives the first, the last, those of the edges that lie between, and some by chance.
func draw(first, last int64, dice *rand.Rand, edges ...int64) []int64 {
	drawn := []int64{first, last}
	for _, edge := range edges {
		if first < edge && edge < last {
			drawn = append(drawn, edge)
		}
	}
	for i := 0; i < samples; i++ {
		drawn = append(drawn, first+dice.Int63n(last-first+1))
	}
	return drawn
}
