// The command line that the JavaScript clients share: arguments SCENARIO and SETTINGS, output of one line of JSON.

/** Runs the named scenario; exit code 0 with {"ok": true, …} or 1 with {"ok": false, "error"}. */
export async function report(scenarios, run) {
  const [name, settings] = process.argv.slice(2)
  let answer
  try {
    if (!Object.hasOwn(scenarios, name ?? '')) {
      throw new Error(`unknown scenario ${name}; known are ${Object.keys(scenarios).join(', ')}`)
    }
    answer = { ok: true, ...(await run(scenarios[name], JSON.parse(settings))) }
  } catch (error) {
    answer = { ok: false, error: String(error.message ?? error), ...error.details }
  }
  // Timers and sockets that the clients leave open would keep the process running.
  process.stdout.write(`${JSON.stringify(answer)}\n`, () => process.exit(answer.ok ? 0 : 1))
}
