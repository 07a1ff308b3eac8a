package hlscheck

import "slices"

// table holds every rule in the order of declaration.
var table []*Rule

func rule(id string, s Severity, source, summary string) *Rule {
	r := &Rule{ID: id, Severity: s, Source: source, Summary: summary}
	table = append(table, r)
	return r
}

// Rules returns all rules.
func Rules() []Rule {
	out := make([]Rule, len(table))
	for i, r := range table {
		out[i] = *r
	}
	return out
}

// known tells whether there is a rule of that ID.
func known(id string) bool {
	return slices.ContainsFunc(table, func(r *Rule) bool { return r.ID == id })
}

// The text of playlists.
var (
	ruleSyntax = rule("syntax", Error, "rfc8216bis §4.1, §4.2",
		"UTF-8 without BOM and control characters, well-formed tags and attribute lists")
	ruleVersion = rule("version", Error, "rfc8216bis §8",
		"EXT-X-VERSION is at least what the tags in use need")
	ruleVersionControl = rule("version-control", Warning, "AVPlayer -12646",
		"EXT-X-VERSION is 9 or higher in a playlist with EXT-X-SERVER-CONTROL")
	ruleKind = rule("kind", Error, "rfc8216bis §4.1",
		"a media playlist where one is named, and no tags of the other kind in it")
	ruleTagOrder = rule("tag-order", Error, "rfc8216bis §4.4.4.9",
		"EXT-X-DISCONTINUITY, -KEY, -MAP and -PROGRAM-DATE-TIME precede the first EXT-X-PART of their segment")
	ruleVOD = rule("playlist-type", Error, "rfc8216bis §6.2.2",
		"a playlist with EXT-X-PLAYLIST-TYPE removes no segments")
	ruleVODType = rule("vod-type", Warning, "authoring 8.6",
		"a playlist that is complete from the start has EXT-X-PLAYLIST-TYPE")
)

// One media playlist.
var (
	ruleTargetDuration = rule("target-duration", Error, "rfc8216bis §4.4.3.1",
		"EXTINF, rounded to whole seconds, is at most EXT-X-TARGETDURATION, which is present")
	ruleSegmentLong = rule("segment-too-long", Error, "authoring 7.7",
		"no segment is longer than the target duration by more than 0.5 s")
	ruleIndependent = rule("independent-segments", Warning, "authoring 9.11, 9.12",
		"EXT-X-INDEPENDENT-SEGMENTS is in the multivariant playlist or in the media playlist")
	ruleMap = rule("map", Error, "authoring 8.20",
		"fragmented MP4 has EXT-X-MAP")
	ruleDateTime = rule("date-time", Error, "authoring 8.4",
		"EXT-X-PROGRAM-DATE-TIME is in every live playlist, and behind every discontinuity")
	ruleDateDrift = rule("date-time-drift", Error, "rfc8216bis §6.2.1",
		"EXT-X-PROGRAM-DATE-TIME goes on as EXTINF says, up to a small overlap")
	ruleDiscontinuitySequence = rule("discontinuity-sequence", Error, "authoring 8.17",
		"a live playlist with EXT-X-DISCONTINUITY has EXT-X-DISCONTINUITY-SEQUENCE")
	ruleSegmentCount = rule("segment-count", Error, "authoring 8.11",
		"a live playlist that has dropped segments lists six or more")
	ruleWindow = rule("window", Error, "rfc8216bis §6.2.2",
		"a live playlist that drops segments keeps three target durations")
	ruleURITwice = rule("uri-twice", Warning, "rfc8216bis §3",
		"each segment and part of a live playlist has a URI of its own")
	ruleKeyMethod = rule("key", Error, "rfc8216bis §4.4.4.4",
		"EXT-X-KEY has METHOD, and a URI unless it is NONE")
	ruleDateRange = rule("date-range", Error, "rfc8216bis §4.4.5.1",
		"EXT-X-DATERANGE has ID and START-DATE, and its attributes agree with each other")
	ruleDateRangeChanged = rule("date-range-changed", Error, "rfc8216bis §6.2.1",
		"the ID of a date range is not used for another, and its attributes do not change")
)

// The low-latency tags.
var (
	rulePartInf = rule("part-inf", Error, "rfc8216bis §4.4.3.7",
		"a playlist with parts has EXT-X-PART-INF with PART-TARGET")
	ruleServerControl = rule("server-control", Error, "rfc8216bis §4.4.3.8",
		"EXT-X-SERVER-CONTROL is present with parts, with the attributes that those need")
	ruleBlockReload = rule("block-reload", Error, "authoring 14.1",
		"a low-latency stream has CAN-BLOCK-RELOAD=YES")
	rulePartHoldBack = rule("part-hold-back", Error, "authoring 14.3",
		"PART-HOLD-BACK is at least three times PART-TARGET")
	ruleHoldBack = rule("hold-back", Error, "rfc8216bis §4.4.3.8",
		"HOLD-BACK is at least three target durations")
	ruleSkipBoundary = rule("skip-boundary", Error, "rfc8216bis §4.4.3.8",
		"CAN-SKIP-UNTIL is at least six target durations")
	ruleDeltaOffered = rule("delta-offered", Warning, "authoring 14.4",
		"a low-latency playlist of more than two minutes offers delta updates")
	ruleSkipDateRanges = rule("skip-date-ranges", Warning, "authoring 14.5",
		"a playlist with delta updates and date ranges has CAN-SKIP-DATERANGES=YES")
	rulePartLong = rule("part-too-long", Error, "rfc8216bis §4.4.4.9",
		"no part is longer than PART-TARGET")
	rulePartShort = rule("part-too-short", Error, "rfc8216bis §4.4.4.9",
		"parts last 85 % of PART-TARGET, except independent ones, gaps, what precedes a gap and the last of a segment")
	rulePartSum = rule("part-sum", Error, "rfc8216bis §3.2",
		"the parts of a segment last as long as the segment")
	rulePartsMissing = rule("parts-missing", Error, "rfc8216bis §6.2.2",
		"segments within three target durations of the end keep their parts")
	rulePartsOld = rule("parts-old", Warning, "rfc8216bis §6.2.2",
		"parts are dropped beyond three target durations from the end")
	ruleFirstPart = rule("first-part", Error, "rfc8216bis §4.4.2.1",
		"with EXT-X-INDEPENDENT-SEGMENTS the first part of a segment is INDEPENDENT")
	ruleGapIndependent = rule("gap-independent", Error, "rfc8216bis §4.4.4.9",
		"a part that is not available is not INDEPENDENT")
	ruleHintMissing = rule("hint-missing", Error, "authoring 14.1",
		"a live playlist with parts hints at the next one")
	ruleHintTwice = rule("hint-twice", Warning, "rfc8216bis §6.2.6",
		"one EXT-X-PRELOAD-HINT of each TYPE")
	ruleHintStale = rule("hint-stale", Error, "rfc8216bis §4.4.5.3",
		"the hinted part is not listed yet")
	ruleHintEnd = rule("hint-after-end", Error, "rfc8216bis §4.4.5.3",
		"no EXT-X-PRELOAD-HINT together with EXT-X-ENDLIST")
	ruleReportMissing = rule("report-missing", Error, "rfc8216bis App. B.1",
		"each playlist has an EXT-X-RENDITION-REPORT for each other rendition")
	ruleReportURI = rule("report-uri", Error, "rfc8216bis §4.4.5.4",
		"the URI of a rendition report is relative and names a media playlist of the stream")
	ruleReportUntrue = rule("report-untrue", Error, "rfc8216bis §4.4.5.4",
		"a rendition report is as up-to-date as its playlist, and says what the rendition has")
)

// A later version of a playlist against an earlier one.
var (
	ruleTargetChanged = rule("target-changed", Error, "rfc8216bis §6.2.1",
		"EXT-X-TARGETDURATION never changes")
	rulePartTargetChanged = rule("part-target-changed", Error, "CoreMedia -12642",
		"PART-TARGET never changes")
	ruleControlChanged = rule("control-changed", Error, "CoreMedia -12642",
		"EXT-X-SERVER-CONTROL never changes")
	ruleVersionChanged = rule("version-changed", Error, "rfc8216bis §6.2.1",
		"EXT-X-VERSION, EXT-X-PLAYLIST-TYPE and EXT-X-INDEPENDENT-SEGMENTS do not change")
	ruleEndUndone = rule("end-undone", Error, "rfc8216bis §6.2.1",
		"nothing changes behind EXT-X-ENDLIST")
	ruleSequenceBack = rule("sequence-back", Error, "rfc8216bis §6.2.2",
		"EXT-X-MEDIA-SEQUENCE does not decrease")
	ruleSequenceSkip = rule("sequence-skip", Error, "rfc8216bis §6.2.2",
		"EXT-X-MEDIA-SEQUENCE grows by one for each segment that is removed")
	ruleDiscontinuityCount = rule("discontinuity-count", Error, "rfc8216bis §6.2.2",
		"EXT-X-DISCONTINUITY-SEQUENCE grows by one for each discontinuity that is removed")
	ruleSegmentChanged = rule("segment-changed", Error, "rfc8216bis §6.2.1",
		"a listed segment and its tags do not change")
	ruleSegmentRemoved = rule("segment-removed", Error, "rfc8216bis §6.2.1",
		"listed segments leave at the front only")
	rulePartChanged = rule("part-changed", Error, "rfc8216bis §6.2.1",
		"a listed part does not change")
	rulePartRemoved = rule("part-removed", Error, "rfc8216bis §6.2.2",
		"the parts of a segment leave together, oldest first")
	rulePartAdded = rule("part-added", Error, "rfc8216bis §6.2.1",
		"a complete segment gains no parts")
	ruleHintBroken = rule("hint-broken", Error, "rfc8216bis §4.4.5.3",
		"the part that follows has the URI that was hinted")
	rulePartLate = rule("part-late", Warning, "rfc8216bis §6.2.1",
		"a new part within one PART-TARGET of the last (reported beyond three and a second, when no gap or discontinuity explains it)")
	ruleUnchanged = rule("playlist-unchanged", Error, "rfc8216bis §6.2.1",
		"a new segment within 1.5 target durations of the last")
)

// Delivery directives.
var (
	ruleBlockEarly = rule("block-early", Error, "rfc8216bis §6.2.5.2",
		"the answer to a blocking request holds what was asked for")
	ruleBlockStuck = rule("block-stuck", Error, "rfc8216bis §6.2.5.2",
		"a blocking request is answered within three target durations")
	ruleBlockSlow = rule("block-slow", Error, "CoreMedia -15410",
		"a blocking request for what is listed already is answered at once")
	ruleBlockFar = rule("block-too-far", Warning, "rfc8216bis §6.2.5.2",
		"_HLS_msn beyond the last segment plus two is refused at once with 400")
	ruleBlockPart = rule("block-part-alone", Error, "rfc8216bis §6.2.5.2",
		"_HLS_part without _HLS_msn is refused with 400")
	ruleBlockMSN = rule("block-msn-alone", Error, "rfc8216bis §6.2.5.2",
		"_HLS_msn alone waits for that segment")
	ruleBlockBeyond = rule("block-part-beyond", Error, "rfc8216bis §6.2.5.2",
		"a part index beyond the last of a segment stands for part 0 of the next")
	ruleBlockEnded = rule("block-ended", Error, "rfc8216bis §6.2.5.2",
		"delivery directives are ignored once EXT-X-ENDLIST is there")
	ruleDeltaMissing = rule("delta-missing", Error, "rfc8216bis §6.2.5.1",
		"_HLS_skip is answered with a delta update where CAN-SKIP-UNTIL is offered")
	ruleDeltaUnasked = rule("delta-unasked", Error, "rfc8216bis §6.2.5.1",
		"EXT-X-SKIP comes only where it was asked for and offered")
	ruleDeltaTooMuch = rule("delta-too-much", Error, "rfc8216bis §6.2.5.1",
		"no segment within the skip boundary is skipped")
	ruleDeltaDiffers = rule("delta-differs", Error, "rfc8216bis §6.2.5.1",
		"a delta update applied to what was known gives the full playlist")
)

// The multivariant playlist.
var (
	ruleNoVariant = rule("no-variant", Error, "rfc8216bis §4.4.6.2",
		"there is an EXT-X-STREAM-INF, each with its URI")
	ruleBandwidth = rule("bandwidth", Error, "rfc8216bis §4.4.6.2",
		"EXT-X-STREAM-INF and EXT-X-I-FRAME-STREAM-INF have BANDWIDTH")
	ruleAverageBandwidth = rule("average-bandwidth", Error, "authoring 9.14",
		"AVERAGE-BANDWIDTH is present and at most BANDWIDTH")
	ruleCodecs = rule("codecs", Error, "authoring 9.1, 9.3",
		"CODECS is present")
	ruleResolution = rule("resolution", Error, "authoring 9.2, 9.4",
		"a variant with video has RESOLUTION")
	ruleFrameRate = rule("frame-rate", Error, "authoring 9.15",
		"a variant with video has FRAME-RATE")
	ruleGroup = rule("rendition-group", Error, "rfc8216bis §4.4.6.2",
		"the groups that a variant names exist")
	ruleRendition = rule("rendition", Error, "rfc8216bis §4.4.6.1",
		"EXT-X-MEDIA has TYPE, GROUP-ID and NAME, names differ within a group, at most one is DEFAULT")
	ruleChannels = rule("channels", Warning, "rfc8216bis §4.4.6.1",
		"an audio rendition has CHANNELS")
	ruleVideoRange = rule("video-range", Error, "rfc8216bis §4.4.6.2",
		"VIDEO-RANGE is SDR, HLG or PQ")
	ruleIFrames = rule("i-frames", Error, "authoring 6.8",
		"an I-frame playlist has EXT-X-I-FRAMES-ONLY, and no other playlist has")
	ruleIFrameParts = rule("i-frame-parts", Warning, "rfc8216bis §4.4.4.9",
		"an I-frame playlist has no parts")
)

// Renditions against each other, and the multivariant playlist against media.
var (
	ruleTargetDiffers = rule("target-differs", Error, "authoring 8.2; rfc8216bis §6.2.4",
		"all renditions have the same EXT-X-TARGETDURATION")
	ruleControlDiffers = rule("control-differs", Error, "rfc8216bis §6.2.4",
		"all renditions have the same EXT-X-SERVER-CONTROL")
	ruleTypeDiffers = rule("playlist-type-differs", Error, "rfc8216bis §6.2.4",
		"all renditions have the same EXT-X-PLAYLIST-TYPE")
	ruleDiscontinuityDiffers = rule("discontinuity-differs", Error, "authoring 8.15; rfc8216bis §6.2.4",
		"discontinuities are at the same points in all renditions, with the same numbers")
	ruleDateDiffers = rule("date-time-differs", Error, "rfc8216bis §6.2.4",
		"dates map to media times alike in all renditions")
	ruleBehind = rule("rendition-behind", Error, "rfc8216bis §6.2.4",
		"no rendition lacks more than a target duration of what another has")
	ruleCodecsUntrue = rule("codecs-untrue", Error, "rfc8216bis §6.2.4",
		"CODECS names every media format in the segments")
	ruleResolutionUntrue = rule("resolution-untrue", Warning, "rfc8216bis §4.4.6.2",
		"RESOLUTION is that of the media")
	ruleFrameRateUntrue = rule("frame-rate-untrue", Warning, "rfc8216bis §4.4.6.2",
		"FRAME-RATE is not exceeded by the media")
	ruleBandwidthUntrue = rule("bandwidth-untrue", Error, "authoring 1.27, 1.29",
		"the measured peak bit rate is below 125 % of BANDWIDTH (live) or within 10 % (VOD)")
	ruleAverageUntrue = rule("average-bandwidth-untrue", Error, "authoring 1.26, 1.28",
		"the measured average bit rate is below 110 % of AVERAGE-BANDWIDTH (live, a minute at least) or within 10 % (VOD)")
)

// HTTP.
var (
	rulePlaylistUnavailable = rule("playlist-unavailable", Error, "rfc8216bis §6.2.1",
		"every playlist that is named can be loaded, again and again")
	ruleMediaUnavailable = rule("media-unavailable", Error, "rfc8216bis §6.2.1",
		"what is listed can be loaded at once")
	ruleHintUnavailable = rule("hint-unavailable", Error, "rfc8216bis §6.2.6",
		"what is hinted can be requested at once, and comes when it is there")
	ruleHintTrickled = rule("hint-trickled", Error, "rfc8216bis §6.2.6",
		"no byte of a part is sent before all of it can be sent at the speed of the link")
	rulePartGone = rule("part-gone", Error, "rfc8216bis §6.2.2",
		"a part can be loaded for three target durations after it left the playlist")
	ruleSegmentGone = rule("segment-gone", Error, "rfc8216bis §6.2.2",
		"a segment can be loaded for its own duration after it left the playlist")
	ruleGzip = rule("gzip", Error, "authoring 10.1",
		"playlists are compressed with gzip")
	rulePlaylistMIME = rule("playlist-content-type", Warning, "authoring 10.4",
		"the Content-Type of playlists is application/vnd.apple.mpegurl or audio/mpegurl")
	ruleMediaMIME = rule("media-content-type", Warning, "authoring 10.4",
		"the Content-Type of media is one that Apple recommends")
	ruleRedirect = rule("redirect", Error, "authoring 8.18",
		"no HTTP redirects")
	ruleTLS = rule("tls", Warning, "authoring 11.1, 11.2, 11.3, 12.1",
		"everything comes over TLS 1.2 or later, except from this machine itself")
	ruleHTTP2 = rule("http2", Warning, "authoring 14.1",
		"a low-latency stream over TLS comes over HTTP/2 or later")
	ruleHTTP1 = rule("http1", Warning, "RFC 9110 §3.7",
		"HTTP/1.1 gives what HTTP/2 gives")
	ruleCORS = rule("cors", Warning, "Fetch §3.3 (CORS)",
		"Access-Control-Allow-Origin lets pages of other origins play")
	ruleCachePlaylist = rule("playlist-cache", Warning, "RFC 9111 §4.2",
		"the live edge is cached for a target duration at most, and says for how long")
	ruleCacheMedia = rule("media-cache", Warning, "RFC 9111 §4.2",
		"media may be cached for a target duration at least")
	ruleETag = rule("etag", Error, "RFC 9110 §8.8.3",
		"one strong ETag stands for one content; If-None-Match is understood")
	ruleMediaChanged = rule("media-changed", Error, "rfc8216bis §6.2.1",
		"media loaded again has the same bytes")
	ruleRange = rule("range", Error, "RFC 9110 §14.2",
		"a byte range gives those bytes of the whole; it works at all where the playlist uses ranges")
)

// The media.
var (
	ruleMalformed = rule("mp4-malformed", Error, "ISO/IEC 14496-12 §4.2, §8",
		"initialization segments, parts and segments are well-formed fragmented MP4")
	ruleInit = rule("init-segment", Error, "rfc8216bis §3.1",
		"an initialization segment has ftyp, moov with mvex and at least one track, and no sample")
	ruleTracks = rule("tracks", Error, "authoring 2.17",
		"a segment has the tracks of its initialization segment, and one audio track at most")
	ruleSegmentStart = rule("segment-start", Error, "authoring 7.4; rfc8216bis §4.4.2.1",
		"video segments start with a key frame")
	ruleSegmentDuration = rule("segment-duration", Error, "authoring 8.1",
		"EXTINF sums up to the media's own time within one frame")
	rulePartDuration = rule("part-duration", Error, "authoring 8.1",
		"DURATION of parts sums up to the media's own time within one frame")
	rulePartIndependent = rule("part-independent", Error, "rfc8216bis §4.4.4.9",
		"an INDEPENDENT part contains a key frame")
	rulePartIndependentMissing = rule("part-independent-missing", Warning, "rfc8216bis §4.4.4.9",
		"a part that contains a key frame is INDEPENDENT")
	rulePartsDiffer = rule("parts-differ", Error, "rfc8216bis §3.2",
		"the parts of a segment have the same samples as the segment, with the same times")
	ruleDecodeTime = rule("decode-time", Error, "authoring 7.3",
		"tfdt goes on where the fragment or segment before it ended, unless there is a discontinuity")
	ruleDateMedia = rule("date-time-media", Error, "rfc8216bis §6.2.1",
		"EXT-X-PROGRAM-DATE-TIME moves with the media's own time")
	ruleConfigChange = rule("config-change", Error, "rfc8216bis §6.2.1",
		"a change of the track's configuration comes with EXT-X-DISCONTINUITY")
	ruleVTT = rule("webvtt", Error, "authoring 5.3",
		"a subtitle segment is WebVTT with X-TIMESTAMP-MAP")
)

// Notes.
var (
	ruleNotLooked = rule("not-looked-into", Note, "-",
		"what the checker could not look into")
	ruleAdvice = rule("advice", Note, "authoring 1.1, 6.1, 7.5, 8.10, 9.9",
		"what Apple asks of content that the server may not choose: codecs, I-frame playlists, six-second targets, LANGUAGE, several bit rates")
)
