# rlef serve, built in the repository's root:
#   docker build -f deploy/serve.Dockerfile -t rlef-serve .
#   docker run -p 8410:8410 -e RLEF_JUDGE_TOKEN=... --security-opt seccomp=unconfined \
#     --security-opt apparmor=unconfined --security-opt systempaths=unconfined rlef-serve
# What each option gives, and what holds without them: docs/serve.md.
FROM python:3.12-slim-bookworm
# gcc builds the judge's hot path; g++ compiles C++ programs and checkers
RUN apt-get update && apt-get install -y --no-install-recommends gcc g++ libc6-dev \
    && rm -rf /var/lib/apt/lists/*
COPY . /opt/rlef
RUN pip install --no-cache-dir "/opt/rlef[serve]" && useradd --create-home judge
USER judge
EXPOSE 8410
HEALTHCHECK --interval=10s --start-period=20s CMD \
  ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8410/ready')"]
STOPSIGNAL SIGTERM
# the token comes as RLEF_JUDGE_TOKEN: without one it does not start
ENTRYPOINT ["rlef", "serve", "--host", "0.0.0.0"]
