//go:build !linux

package main

import (
	"context"
	"errors"
	"io"
)

var errLinux = errors.New("the ideal needs the segmentation offload of Linux")

func serveIdeal(context.Context, []string, io.Writer) error { return errLinux }

func watchIdeal(context.Context, []string, io.Writer) error { return errLinux }
