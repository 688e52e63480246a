//go:build race

package main

// raced divides the sizes of tests whose work the race detector makes ten times longer. go test without it has them whole.
const raced = 4
