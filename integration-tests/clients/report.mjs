// The command line that the clients share: SCENARIO SETTINGS in, one line of JSON out.

/** Runs the named scenario; exit code 0 with {"ok": true, …} or 1 with {"ok": false, "error"}. */
export async function report(scenarios, run) {
  const [name, settings] = process.argv.slice(2)
  let answer
  try {
    if (!Object.hasOwn(scenarios, name ?? '')) {
      throw new Error(`${name} is none of ${Object.keys(scenarios).join(', ')}`)
    }
    answer = { ok: true, ...(await run(scenarios[name], JSON.parse(settings))) }
  } catch (error) {
    answer = { ok: false, error: String(error.message ?? error), ...error.details }
  }
  // The clients may leave timers and sockets behind that would hold the process up.
  process.stdout.write(`${JSON.stringify(answer)}\n`, () => process.exit(answer.ok ? 0 : 1))
}
