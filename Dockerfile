# The image of docker-compose.yml: every command of pauseledger, with all extras, from locked versions.
FROM python:3.13-slim
RUN useradd --system --create-home --home-dir /var/lib/pauseledger pauseledger
WORKDIR /opt/pauseledger
COPY requirements-all.lock ./
RUN pip install --no-cache-dir --require-hashes -r requirements-all.lock
COPY pyproject.toml README.md LICENSE ./
COPY ledger ledger
COPY projections projections
COPY consumers consumers
RUN pip install --no-cache-dir --no-deps --no-build-isolation .
USER pauseledger
WORKDIR /var/lib/pauseledger
ENTRYPOINT ["pauseledger"]
