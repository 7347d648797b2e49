// Simulates the monitoring of a page (Sentry, Datadog, OpenTelemetry), and records the answers that the page could read.

/** Runs in the page before its own scripts. Adds `headers` to every request to `endpoint`. */
export function monitor({ endpoint, headers }) {
  /** All answers of the endpoint, with the headers that the page can read. */
  window.answers = []
  const isTraced = (url) => String(new URL(url, location)).startsWith(endpoint)

  function heard(method, url, status, lines) {
    const { pathname } = new URL(url, location)
    window.answers.push({ request: `${method.toUpperCase()} ${pathname}`, status, headers: Object.fromEntries(lines) })
  }

  const plainFetch = window.fetch
  window.fetch = async (input, init) => {
    const request = new Request(input, init)
    if (!isTraced(request.url)) return plainFetch(input, init)
    for (const [name, value] of Object.entries(headers)) request.headers.set(name, value)
    const { method, url } = request
    const response = await plainFetch(request)
    heard(method, url, response.status, [...response.headers])
    return response
  }

  const { open, send } = XMLHttpRequest.prototype
  const opened = new WeakMap()
  XMLHttpRequest.prototype.open = function (method, url, ...more) {
    opened.set(this, { method, url })
    return open.call(this, method, url, ...more)
  }
  XMLHttpRequest.prototype.send = function (body) {
    const { method, url } = opened.get(this)
    if (isTraced(url)) {
      for (const [name, value] of Object.entries(headers)) this.setRequestHeader(name, value)
      this.addEventListener('readystatechange', () => {
        if (this.readyState !== XMLHttpRequest.DONE) return
        const lines = this.getAllResponseHeaders().trim().split(/\r\n/).filter(Boolean)
        heard(method, url, this.status, lines.map((line) => line.split(/: (.*)/s, 2)))
      })
    }
    return send.call(this, body)
  }
}

/** Headers of one trace, for each product and standard. */
export const TRACING = {
  traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
  tracestate: 'dd=s:1;o:rum;t.dm:-0,vendor=t61rcWkgMzE',
  baggage: 'sentry-environment=production,sentry-release=2.4.1,sentry-trace_id=4bf92f3577b34da6a3ce929d0e0e4736',
  'sentry-trace': '4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1',
  'x-datadog-trace-id': '11803532876627986230',
  'x-datadog-parent-id': '67667974448284343',
  'x-datadog-sampling-priority': '1',
  'x-datadog-origin': 'rum',
}
