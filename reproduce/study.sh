#!/bin/bash
# A study of small models that anyone can repeat: the four models of table 1 on two data sets with three
# seeds, the lengths of table 3 and the variants of table 4 on one of them. About twelve hours on one core.
#
# usage: reproduce/study.sh [OUT]
#
# Run it again to resume. The report, OUT/report/index.html, is written after each part: the first is one seed
# of table 1 on recorded speech, in place of Blizzard; then synthetic piano, in place of Music; more seeds;
# and the tables 3 and 4. Variables: PYTHON (default: python3), CORES (default: 1), and SPEECH, a folder with the
# packages of `samplernn data speech`, if they are not to be downloaded.
set -u
out=${1:-reproduction/study}
speech=(--data "blizzard=$out/sets/speech" --about "blizzard=telephone prompts, one speaker, from Debian")
piano=(--data "music=$out/sets/demo" --about "music=five themes on a synthetic piano, in three keys")

samplernn() { "${PYTHON:-python3}" -m samplernn_theano "$@"; }

failed=0
part() {
    samplernn reproduce "$@" --scale study --out "$out" --cores "${CORES:-1}" || failed=$?
    if ((failed >= 128)); then exit "$failed"; fi # interrupted
}

samplernn data demo --everything --out "$out/sets/demo" || exit
if [[ ! -e $out/sets/speech/manifest.json ]]; then
    samplernn data speech --out "$out/sets/speech" ${SPEECH:+--source "$SPEECH"} || exit
fi
part table1/blizzard "${speech[@]}"
part table1/music "${piano[@]}"
part table1/blizzard table1/music "${speech[@]}" "${piano[@]}" --seeds 2
part table1/blizzard table1/music "${speech[@]}" "${piano[@]}" --seeds 3
part table3 table4 "${speech[@]}"
exit "$failed"
