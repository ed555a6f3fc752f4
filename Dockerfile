# One image for each service: docker build --target edge|sdxl|wan|chat --tag atelier/edge:0.1.0 .
# PyPI's torch for Linux carries CUDA; a smaller image for CPUs:
#   --build-arg PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
FROM python:3.11-slim AS source
ARG PIP_EXTRA_INDEX_URL
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /src
# First what changes seldom, so that a change of the code leaves gigabytes of layers alone.
COPY pyproject.toml constraints.txt README.md ./

FROM source AS edge-builder
RUN pip install --constraint constraints.txt '.[edge]'
COPY k8s/base/envoy k8s/base/envoy
COPY atelier atelier
COPY shared shared
COPY edge_service edge_service
RUN pip install --no-deps --force-reinstall .

FROM source AS worker-builder
RUN pip install --constraint constraints.txt '.[workers]'
COPY k8s/base/envoy k8s/base/envoy
COPY atelier atelier
COPY shared shared
COPY sdxl_service sdxl_service
COPY wan_service wan_service
COPY chat_service chat_service
RUN pip install --no-deps --force-reinstall .

FROM python:3.11-slim AS runtime
RUN useradd --uid 10001 --create-home atelier
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001
WORKDIR /home/atelier

FROM runtime AS edge
COPY --from=edge-builder /opt/venv /opt/venv
EXPOSE 50051 50080
CMD ["python", "-m", "edge_service"]

FROM runtime AS sdxl
COPY --from=worker-builder /opt/venv /opt/venv
EXPOSE 50061
CMD ["python", "-m", "sdxl_service"]

FROM runtime AS wan
COPY --from=worker-builder /opt/venv /opt/venv
EXPOSE 50062
CMD ["python", "-m", "wan_service"]

FROM runtime AS chat
COPY --from=worker-builder /opt/venv /opt/venv
EXPOSE 50063
CMD ["python", "-m", "chat_service"]
