// Command age-plugin-tillsyntest is an age plugin for tests: its identities are those of age, under another name.
package main

import (
	"fmt"
	"os"
	"slices"

	"filippo.io/age"
	"filippo.io/age/plugin"
)

const name = "tillsyntest"

func main() {
	if slices.Contains(os.Args, "--generate") {
		i, err := age.GenerateX25519Identity()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(plugin.EncodeIdentity(name, []byte(i.String())))
		fmt.Println(plugin.EncodeRecipient(name, []byte(i.Recipient().String())))
		return
	}
	p, err := plugin.New(name)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	p.HandleRecipient(func(data []byte) (age.Recipient, error) { return age.ParseX25519Recipient(string(data)) })
	p.HandleIdentity(func(data []byte) (age.Identity, error) { return age.ParseX25519Identity(string(data)) })
	os.Exit(p.Main())
}
