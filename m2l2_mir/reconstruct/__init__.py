"""Audio files through a model and back: encode, decode, bring to the old loudness, write, compare.

    file --read_chunks--> blocks --encoder--> summary embeddings --decoder--> pieces --> audio file
    file, audio file --> SI-SDR, log-spectral distance, ViSQOL

Conventions
-----------
- A reconstruction has the duration of its original and the channels of the model; its original is what the model heard,
  mixed to these channels. Figures compare it with what the decoder gave, at the model's rate and the decoder's own
  level, as :func:`m2l2_mir.quality.reconstruction.clip_figures` does.
- What is written has another rate, and one gain that brings it to the loudness of its original (BS.1770) unless the
  level of the decoder is asked for. Figures do not depend on either.
- An original that nowhere reaches the gate of BS.1770, -70 LUFS, is silent: it has no figures, as rounding would be
  taken for music where channels cancel.
- The embeddings of a file are held, about 10 MB an hour; audio passes in blocks, through a file without a name.
"""
