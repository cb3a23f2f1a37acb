# The command samplernn with JAX for CPUs, at the versions of requirements.lock:
#   docker build -t samplernn-theano .
#   docker run --rm -it --user "$(id -u):$(id -g)" -v "$PWD:/work" samplernn-theano info
# To decode what libsndfile does not (m4a and others): docker build --build-arg PACKAGES=ffmpeg -t samplernn-theano .
FROM debian:trixie-slim
ARG PACKAGES=
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv $PACKAGES \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/samplernn
ENV PATH=/opt/samplernn/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /src
COPY requirements.lock ./
RUN pip install --no-deps --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY samplernn_theano samplernn_theano
RUN pip install --no-deps --no-build-isolation .

# Compiled programs are kept in .cache of the mounted folder, so that the next container need not compile again.
ENV HOME=/work
WORKDIR /work
ENTRYPOINT ["samplernn"]
CMD ["--help"]
