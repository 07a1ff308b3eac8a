package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/freshet-live/freshet/cmd/internal/boot"
	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/codec"
	"github.com/freshet-live/freshet/media/ingest"
	"github.com/freshet-live/freshet/media/ingest/rtsp"
	"github.com/freshet-live/freshet/media/ingest/source"
	"github.com/freshet-live/freshet/media/ingest/whip"
	"github.com/freshet-live/freshet/media/packager"
	"github.com/freshet-live/freshet/moq"
)

var videoCodecs = map[string]media.Codec{"h264": media.H264, "h265": media.H265, "hevc": media.H265, "av1": media.AV1, "vp9": media.VP9, "vp8": media.VP8}
var audioCodecs = map[string]media.Codec{"opus": media.Opus, "aac": media.AAC, "ac3": media.AC3, "eac3": media.EC3}

func publish(args []string) int {
	const name = "freshet publish"
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	var c client
	c.flags(fs)
	whipURL := fs.String("whip", "", "`URL` to publish to by WHIP, such as http://127.0.0.1:8080/whip/demo")
	rtspURL := fs.String("rtsp", "", "`URL` to publish to by RTSP, such as rtsp://demo:KEY@127.0.0.1:8554/demo")
	moqURL := fs.String("moq", "", "`URL` of a node to publish to by MoQ, such as moqt://127.0.0.1:4443")
	room := fs.String("room", "demo", "`room` to publish to by MoQ")
	video := fs.String("video", "h264", "`codec` to encode to: h264, h265, av1, vp9, vp8 or none")
	audio := fs.String("audio", "opus", "`codec` to encode to: opus, aac, ac3, eac3 (by MoQ only) or none")
	subtitles := fs.String("subtitles", "", "WebVTT `FILE` whose cues to publish by MoQ")
	language := fs.String("language", "", "language of the subtitles, a `tag` such as en or pt-BR")
	var opts source.Options
	fs.IntVar(&opts.Width, "width", 0, "width of the picture in pixels; 0 as the input has it")
	fs.IntVar(&opts.Height, "height", 0, "height of the picture in pixels; 0 as the input has it")
	fs.IntVar(&opts.FrameRate, "fps", 0, "frames per second; 0 as the input has them")
	fs.IntVar(&opts.VideoBitrate, "bitrate", 0, "bits per second of the picture; 0 for 1.5 Mbit/s")
	fs.DurationVar(&opts.GOP, "gop", 0, "time between key frames; 0 for 2s")
	fs.BoolVar(&opts.Once, "once", false, "end with the file rather than begin it again")
	fs.Usage = func() {
		fmt.Fprintf(fs.Output(), "Usage: %s (--whip URL|--rtsp URL|--moq URL) FILE|testsrc [flags]\n\nIt encodes with ffmpeg, which must be installed.\n\n", name)
		fs.PrintDefaults()
	}
	inputs, err := arguments(fs, args)
	if err == nil {
		err = chooseCodecs(&opts, *video, *audio)
	}
	targets := 0
	for _, u := range []string{*whipURL, *rtspURL, *moqURL} {
		if u != "" {
			targets++
		}
	}
	switch {
	case err != nil:
	case targets != 1:
		err = fmt.Errorf("%w: one of --whip, --rtsp and --moq is wanted", boot.ErrUsage)
	case len(inputs) != 1:
		err = fmt.Errorf("%w: one FILE, or testsrc, is wanted", boot.ErrUsage)
	case *subtitles != "" && *moqURL == "":
		err = fmt.Errorf("%w: --subtitles needs --moq: WHIP and RTSP carry none", boot.ErrUsage)
	case *subtitles == "" && *language != "":
		err = fmt.Errorf("%w: --language is of the --subtitles, of which there are none", boot.ErrUsage)
	case !languageTag.MatchString(*language):
		err = fmt.Errorf("%w: --language %q is no language tag", boot.ErrUsage, *language)
	}
	if err != nil {
		return boot.Exit(name, err)
	}
	ctx, stop := boot.Interruptible()
	defer stop()
	src, err := source.Open(ctx, inputs[0], opts)
	if err != nil {
		return boot.Exit(name, err)
	}
	defer src.Close()
	var all ingest.Source = src
	if *subtitles != "" {
		if all, err = withSubtitles(ctx, src, *subtitles, *language, inputs[0], opts.Once); err != nil {
			return boot.Exit(name, err)
		}
	}
	fmt.Fprintf(os.Stderr, "publishing %s, ^C ends it\n", describe(all.Formats()))
	switch {
	case *whipURL != "":
		err = whip.Publish(ctx, *whipURL, c.token, src)
	case *rtspURL != "":
		var u string
		if u, err = withKey(*rtspURL, c.token); err == nil {
			err = rtsp.Publish(ctx, u, src)
		}
	default:
		err = publishMoQ(ctx, &c, *moqURL, *room, all)
	}
	if errors.Is(err, io.EOF) {
		err = nil // the file has ended
	}
	return boot.Exit(name, err)
}

// languageTag is the shape of RFC 5646, section 2.1, or nothing.
var languageTag = regexp.MustCompile(`^([A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*)?$`)

// withSubtitles adds the cues of a WebVTT file. They begin again with the
// input; those of the test picture one second behind the last.
func withSubtitles(ctx context.Context, src ingest.Source, file, language, input string, once bool) (ingest.Source, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	cues, err := codec.ParseWebVTT(b)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", file, err)
	case len(cues) == 0:
		return nil, fmt.Errorf("%s: no cues", file)
	}
	var period time.Duration
	switch {
	case once:
	case input == source.TestSource:
		for _, c := range cues {
			period = max(period, c.End+time.Second)
		}
	default:
		if period, err = source.Duration(ctx, input); err != nil {
			return nil, err
		}
	}
	return source.WithSubtitles(src, codec.WebVTTFormat(language, ""), cues, period), nil
}

func chooseCodecs(o *source.Options, video, audio string) error {
	var ok bool
	if o.NoVideo = video == "none"; !o.NoVideo {
		if o.Video, ok = videoCodecs[strings.ToLower(video)]; !ok {
			return fmt.Errorf("%w: --video %s is not h264, h265, av1, vp9, vp8 or none", boot.ErrUsage, video)
		}
	}
	if o.NoAudio = audio == "none"; !o.NoAudio {
		if o.Audio, ok = audioCodecs[strings.ToLower(audio)]; !ok {
			return fmt.Errorf("%w: --audio %s is not opus, aac, ac3, eac3 or none", boot.ErrUsage, audio)
		}
	}
	if o.NoVideo && o.NoAudio {
		return fmt.Errorf("%w: neither video nor audio is left", boot.ErrUsage)
	}
	return nil
}

func describe(formats []media.Format) string {
	var s []string
	for _, f := range formats {
		switch f.Kind() {
		case media.Video:
			s = append(s, fmt.Sprintf("%s %dx%d", f.Codec, f.Width, f.Height))
		case media.Text:
			s = append(s, strings.TrimSpace("subtitles "+f.Language))
		default:
			s = append(s, fmt.Sprintf("%s %d Hz", f.Codec, f.SampleRate))
		}
	}
	return strings.Join(s, " and ")
}

// withKey puts a stream key into an RTSP URL that has none: the user is the
// room, which is the first field of the path.
func withKey(rawURL, key string) (string, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "", fmt.Errorf("%w: --rtsp: not a URL", boot.ErrUsage)
	}
	if u.User == nil && key != "" {
		room, _, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
		u.User = url.UserPassword(room, key)
	}
	return u.String(), nil
}

// publishMoQ packs the frames here and offers them to a node.
func publishMoQ(ctx context.Context, c *client, rawURL, room string, src ingest.Source) error {
	log, err := c.logger()
	if err != nil {
		return err
	}
	node, stop, err := c.connect(ctx, rawURL, log)
	if err != nil {
		return err
	}
	defer stop()
	b := packager.New(moq.Namespace{"live", room}, packager.Config{})
	var tracks []media.TrackWriter
	for _, f := range src.Formats() {
		w, err := b.AddTrack(f)
		if err != nil {
			return err
		}
		tracks = append(tracks, w)
	}
	defer node.Publish(b.Broadcast())()
	defer b.Close(nil)
	for {
		i, f, err := src.Next(ctx)
		if err != nil {
			return err
		}
		if err := tracks[i].WriteFrame(f); err != nil {
			return err
		}
	}
}
