# SPDX-License-Identifier: Apache-2.0
# Writes the man page PAGE from what the program TRAINER says of itself. Run by the build.
execute_process(COMMAND ${TRAINER} --help OUTPUT_VARIABLE help COMMAND_ERROR_IS_FATAL ANY)
string(REPLACE "\\" "\\\\" help "${help}")
string(REPLACE "-" "\\-" help "${help}")
string(REGEX REPLACE "\n([.'])" "\n\\\\&\\1" help "${help}")
file(WRITE ${PAGE}.tmp ".TH MIXTRAL\\-TRAIN 1
.SH NAME
mixtral\\-train \\- train Mixtral models on token shards
.SH DESCRIPTION
.nf
${help}.fi
.SH EXIT STATUS
0 done, 1 wrong use, 2 bad input, 4 a bug, 130 interrupted and saved.
.SH SEE ALSO
.BR mixtral (1)
")
file(RENAME ${PAGE}.tmp ${PAGE})
