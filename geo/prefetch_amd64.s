#include "textflag.h"

// func prefetchWords(words *uint64, spots *[batchSize]uint32, n int)
//
// Four at a time, seven instructions for two; n is rounded up, as spots has room for whole fours and a line that nobody wanted does no harm.
TEXT ·prefetchWords(SB), NOSPLIT, $0-24
	MOVQ words+0(FP), BX
	MOVQ spots+8(FP), SI
	MOVQ n+16(FP), CX
	LEAQ (SI)(CX*4), CX
	JMP  check

four:
	MOVL 0(SI), R8
	MOVL 4(SI), R9
	MOVL 8(SI), R10
	MOVL 12(SI), R11
	SHRL $6, R8
	SHRL $6, R9
	SHRL $6, R10
	SHRL $6, R11
	PREFETCHT0 (BX)(R8*8)
	PREFETCHT0 (BX)(R9*8)
	PREFETCHT0 (BX)(R10*8)
	PREFETCHT0 (BX)(R11*8)
	ADDQ $16, SI

check:
	CMPQ SI, CX
	JLT  four
	RET
