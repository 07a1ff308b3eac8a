package codec

import (
	"cmp"
	"fmt"
	"slices"
)

// h265SPS is what a configuration record and a Format need of a sequence
// parameter set. mediacommon's parser refuses sets with sub-layer profiles,
// which temporal scalability brings, hence this one.
type h265SPS struct {
	id, vps                                    uint32
	profile                                    HEVCProfile
	temporalLayers                             uint8
	temporalIDNested                           bool
	chromaFormat, bitDepthLuma, bitDepthChroma uint8
	width, height                              int // after cropping
	frameRate                                  float64
}

// parseH265SPS parses a NAL unit (ITU-T H.265, 7.3.2.2.1).
func parseH265SPS(nalu []byte) (h265SPS, error) {
	var s h265SPS
	malformed := func(what string) (h265SPS, error) {
		return h265SPS{}, fmt.Errorf("%w: H.265 SPS: %s", ErrMalformed, what)
	}
	if len(nalu) < 2+15 || len(nalu) > 0xffff {
		return malformed("size")
	}
	r := bitReader{b: rbsp(nalu[2:])}
	s.vps = r.u(4)
	maxSubLayers := r.u(3) // minus 1
	s.temporalLayers = uint8(maxSubLayers) + 1
	s.temporalIDNested = r.flag()
	s.profile.read(&r, int(maxSubLayers))
	s.id = r.ue()
	chroma := r.ue()
	separate := false
	if chroma == 3 {
		separate = r.flag()
	}
	w, h := r.ue(), r.ue()
	if !r.ok() || maxSubLayers > 6 || s.id > 15 || chroma > 3 || w > maxDimension || h > maxDimension {
		return malformed("header")
	}
	s.chromaFormat = uint8(chroma)
	s.width, s.height = int(w), int(h)
	if r.flag() { // conformance_window_flag
		// Offsets count chroma samples (6.2, table 6-1).
		subX, subY := 1, 1
		if !separate && (chroma == 1 || chroma == 2) {
			subX = 2
		}
		if !separate && chroma == 1 {
			subY = 2
		}
		left, right, top, bottom := r.ue(), r.ue(), r.ue(), r.ue()
		if max(left, right, top, bottom) > maxDimension {
			return malformed("conformance window")
		}
		s.width -= subX * int(left+right)
		s.height -= subY * int(top+bottom)
	}
	if err := checkSize(s.width, s.height); err != nil {
		return h265SPS{}, err
	}
	luma, chromaDepth := r.ue(), r.ue()
	if !r.ok() || luma > 8 || chromaDepth > 8 {
		return malformed("bit depth")
	}
	s.bitDepthLuma, s.bitDepthChroma = uint8(luma)+8, uint8(chromaDepth)+8
	s.frameRate = h265FrameRate(&r, maxSubLayers)
	return s, nil
}

// read parses profile_tier_level with its sub-layers.
func (p *HEVCProfile) read(r *bitReader, maxSubLayers int) {
	p.Space = uint8(r.u(2))
	p.HighTier = r.flag()
	p.IDC = uint8(r.u(5))
	p.Compatibility = r.u(32)
	for i := range p.Constraints {
		p.Constraints[i] = uint8(r.u(8))
	}
	p.Level = uint8(r.u(8))
	if maxSubLayers == 0 {
		return
	}
	var profile, level [8]bool
	for i := range 8 {
		if i < maxSubLayers {
			profile[i], level[i] = r.flag(), r.flag()
		} else {
			r.skip(2)
		}
	}
	for i := range maxSubLayers {
		if profile[i] {
			r.skip(88)
		}
		if level[i] {
			r.skip(8)
		}
	}
}

// h265FrameRate reads on from log2_max_pic_order_cnt_lsb to the timing
// information of the VUI. It returns 0 when there is none, or when what
// stands before it is malformed: a Format can do without.
func h265FrameRate(r *bitReader, maxSubLayers uint32) float64 {
	pocBits := r.ue() + 4
	first := uint32(0)
	if !r.flag() { // sps_sub_layer_ordering_info_present_flag
		first = maxSubLayers
	}
	for range maxSubLayers - first + 1 {
		r.ue()
		r.ue()
		r.ue()
	}
	for range 6 { // block sizes and hierarchy depths
		r.ue()
	}
	if r.flag() { // scaling_list_enabled_flag
		if r.flag() { // sps_scaling_list_data_present_flag
			skipScalingLists(r)
		}
	}
	r.skip(2)     // amp, sample_adaptive_offset
	if r.flag() { // pcm_enabled_flag
		r.skip(8)
		r.ue()
		r.ue()
		r.skip(1)
	}
	if !skipRefPicSets(r) {
		return 0
	}
	if r.flag() { // long_term_ref_pics_present_flag
		n := r.ue()
		if n > 32 || pocBits > 16 {
			return 0
		}
		for range n {
			r.skip(int(pocBits) + 1)
		}
	}
	r.skip(2)                 // temporal_mvp, strong_intra_smoothing
	if !r.flag() || !r.ok() { // vui_parameters_present_flag
		return 0
	}
	return h265VUIFrameRate(r)
}

// h265VUIFrameRate reads vui_parameters up to the timing (E.2.1).
func h265VUIFrameRate(r *bitReader) float64 {
	if r.flag() && r.u(8) == 255 { // aspect_ratio_idc: EXTENDED_SAR
		r.skip(32)
	}
	if r.flag() { // overscan_info_present_flag
		r.skip(1)
	}
	if r.flag() { // video_signal_type_present_flag
		r.skip(4)
		if r.flag() { // colour_description_present_flag
			r.skip(24)
		}
	}
	if r.flag() { // chroma_loc_info_present_flag
		r.ue()
		r.ue()
	}
	r.skip(3)     // neutral_chroma, field_seq, frame_field_info_present
	if r.flag() { // default_display_window_flag
		for range 4 {
			r.ue()
		}
	}
	if !r.flag() { // vui_timing_info_present_flag
		return 0
	}
	units, scale := r.u(32), r.u(32)
	if !r.ok() {
		return 0
	}
	return frameRate(float64(scale), float64(units))
}

// skipScalingLists reads scaling_list_data (7.3.4).
func skipScalingLists(r *bitReader) {
	for size := range 4 {
		step := 1
		if size == 3 {
			step = 3
		}
		for matrix := 0; matrix < 6; matrix += step {
			if !r.flag() { // scaling_list_pred_mode_flag
				r.ue()
				continue
			}
			if size > 1 {
				r.se()
			}
			for range min(64, 1<<(4+size<<1)) {
				r.se()
			}
		}
	}
}

// skipRefPicSets reads the short-term reference picture sets (7.3.7). A set
// may be coded as a difference to the one before, whose pictures therefore
// have to be followed (7.4.8).
func skipRefPicSets(r *bitReader) bool {
	n := r.ue()
	if !r.ok() || n > 64 {
		return false
	}
	// Picture order differences of the set before: the negative ones, then
	// the positive ones, each from near to far.
	var prev []int
	for i := range n {
		var next []int
		if i > 0 && r.flag() { // inter_ref_pic_set_prediction_flag
			sign := 1
			if r.flag() {
				sign = -1
			}
			delta := r.ue()
			if delta >= 1<<15 {
				return false
			}
			shift := sign * (int(delta) + 1)
			for _, d := range append(prev, 0) {
				used := r.flag() // used_by_curr_pic_flag
				if !used {
					used = r.flag() // use_delta_flag
				}
				if used && d+shift != 0 {
					next = append(next, d+shift)
				}
			}
			slices.SortFunc(next, func(a, b int) int {
				return cmp.Or(cmp.Compare(bit(a > 0), bit(b > 0)), cmp.Compare(max(a, -a), max(b, -b)))
			})
		} else {
			counts := [2]uint32{r.ue(), r.ue()}
			for side, sign := range [2]int{-1, 1} {
				if counts[side] > 16 {
					return false
				}
				d := 0
				for range counts[side] {
					step := r.ue()
					if step >= 1<<15 {
						return false
					}
					d += sign * (int(step) + 1)
					next = append(next, d)
					r.skip(1) // used_by_curr_pic
				}
			}
		}
		if !r.ok() || len(next) > 32 {
			return false
		}
		prev = next
	}
	return true
}
