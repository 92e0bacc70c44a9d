// Checks what pauseledger signs and proves, with nothing but golang.org/x/mod/sumdb: a JSON case a line on stdin, and
// "ok" or what is wrong a line on stdout.
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type check struct {
	Kind   string
	Vkey   string
	Origin string

	Index    int64
	TreeSize int64 `json:"tree_size"`
	Hashes   []string
	Leaf     []byte
	Note     string `json:"checkpoint"`

	OldSize int64  `json:"old_size"`
	NewSize int64  `json:"new_size"`
	OldNote string `json:"old_checkpoint"`
	NewNote string `json:"new_checkpoint"`

	Folder string
	Leaves [][]byte
	Text   string
}

// opened is the tree of a checkpoint that the key signed.
func (c check) opened(text string) (tlog.Tree, error) {
	verifier, err := note.NewVerifier(c.Vkey)
	if err != nil {
		return tlog.Tree{}, err
	}
	found, err := note.Open([]byte(text), note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(found.Text, "\n")
	if len(lines) != 4 || lines[0] != c.Origin {
		return tlog.Tree{}, fmt.Errorf("not a checkpoint of %s", c.Origin)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: root}, err
}

func hashes(texts []string, decode func(string) ([]byte, error)) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, len(texts))
	for i, text := range texts {
		data, err := decode(text)
		if err != nil || len(data) != tlog.HashSize {
			return nil, errors.New("no hash")
		}
		copy(found[i][:], data)
	}
	return found, nil
}

func (c check) inclusion() error {
	tree, err := c.opened(c.Note)
	if err != nil {
		return err
	}
	proof, err := hashes(c.Hashes, hex.DecodeString)
	if err != nil {
		return err
	}
	if c.TreeSize != tree.N {
		return errors.New("another size")
	}
	return tlog.CheckRecord(proof, tree.N, tree.Hash, c.Index, tlog.RecordHash(c.Leaf))
}

// text is c2sp.org/tlog-proof.
func (c check) text() error {
	head, signed, found := strings.Cut(c.Text, "\n\n")
	lines := strings.Split(head, "\n")
	if !found || len(lines) < 2 || lines[0] != "c2sp.org/tlog-proof@v1" || !strings.HasPrefix(lines[1], "index ") {
		return errors.New("no tlog-proof")
	}
	index, err := strconv.ParseInt(lines[1][len("index "):], 10, 64)
	if err != nil {
		return err
	}
	proof, err := hashes(lines[2:], base64.StdEncoding.DecodeString)
	if err != nil {
		return err
	}
	tree, err := c.opened(signed)
	if err != nil {
		return err
	}
	return tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(c.Leaf))
}

func (c check) consistency() error {
	old, err := c.opened(c.OldNote)
	if err != nil {
		return err
	}
	tree, err := c.opened(c.NewNote)
	if err != nil {
		return err
	}
	proof, err := hashes(c.Hashes, hex.DecodeString)
	if err != nil {
		return err
	}
	if c.OldSize != old.N || c.NewSize != tree.N {
		return errors.New("other sizes")
	}
	return tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash)
}

type folder string

func (f folder) Height() int { return 8 }

func (f folder) SaveTiles(tiles []tlog.Tile, data [][]byte) {}

// ReadTiles reads as c2sp.org/tlog-tiles lays them out: without the height, which is always 8.
func (f folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	for i, tile := range tiles {
		path := "tile/" + strings.TrimPrefix(tile.Path(), "tile/8/")
		found, err := os.ReadFile(filepath.Join(string(f), path))
		if err != nil {
			return nil, err
		}
		data[i] = found
	}
	return data, nil
}

// tiles reads every leaf through tiles that lead to the signed root, and compares.
func (c check) tiles() error {
	signed, err := os.ReadFile(filepath.Join(c.Folder, "checkpoint"))
	if err != nil {
		return err
	}
	tree, err := c.opened(string(signed))
	if err != nil {
		return err
	}
	if tree.N != int64(len(c.Leaves)) {
		return fmt.Errorf("the tree has %d leaves", tree.N)
	}
	reader := tlog.TileHashReader(tree, folder(c.Folder))
	for i, leaf := range c.Leaves {
		found, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, int64(i))})
		if err != nil {
			return err
		}
		if found[0] != tlog.RecordHash(leaf) {
			return fmt.Errorf("leaf %d is another", i)
		}
	}
	return nil
}

func (c check) run() error {
	switch c.Kind {
	case "inclusion":
		return c.inclusion()
	case "text":
		return c.text()
	case "consistency":
		return c.consistency()
	case "tiles":
		return c.tiles()
	}
	return errors.New("no such check")
}

func main() {
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var c check
		if err = json.Unmarshal(line, &c); err == nil {
			err = c.run()
		}
		if err != nil {
			fmt.Println("refused:", strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Println("ok")
		}
	}
}
