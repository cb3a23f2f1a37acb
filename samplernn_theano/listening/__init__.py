"""The A/B listening test: its stimuli and page, the server that collects votes, and their analysis.

A test is a folder:

- ``index.html``: the page for listeners, with all sounds in it;
- ``test.json``: the data of the page: ``{"format": "samplernn listening test 1", "id": "0123456789abcdef",
  "title": "...", "pairs": 20, "seconds": 5.0, "systems": {SYSTEM: [SOUND, ...], ...}}``, where
  SYSTEM and SOUND are anonymous ids, and the id of the test is a hash of the rest;
- ``key.json``: the meaning of the ids, which no listener may see: ``{"format": "samplernn listening key 1",
  "test": "0123456789abcdef", "systems": {SYSTEM: NAME, ...}, "sounds": {SOUND: {"system": SYSTEM,
  "file": PATH, "loudness": LUFS in the file, "gain": dB}, ...}}``;
- ``sounds/SOUND.wav``: the sounds, of equal length and loudness, 16-bit, 16 kHz, mono;
- ``links.txt``, if only some listeners are invited: a link for each, with a token.

The result of a listener, as a file or posted to the server, is ``{"format": "samplernn listening test 1",
"test": "0123456789abcdef", "listener": "...", "started": ISO time, "finished": ISO time, "votes":
[{"pair": 0, "a": SOUND, "b": SOUND, "vote": "a", "b" or "none", "seconds": 12.3, "plays_a": 1, "plays_b": 2},
...], "token": "..."}``, where a is the sound presented as A, and the token, that of the listener's link, is
missing if the page was opened as a file.
"""
