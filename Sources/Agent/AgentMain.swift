import Glibc
import Logging
import Syscalls

/// The agent as a program: what runs for `weft agent …` and when the program is called `flanneld`.
public enum AgentMain {
  /// Runs the agent and returns the exit status of the process (contract flanneld §1.3, §3).
  /// - Parameters:
  ///   - arguments: the words after the program's name.
  ///   - programName: shown in the usage text.
  public static func run(arguments: [String], programName: String) -> Int32 {
    switch AgentOptions.parse(arguments: arguments, environment: Environment.get, programName: programName) {
    case .exit(let code, let text):
      StandardError.write(text)
      return code
    case .run(let options, let warnings):
      let handler = KlogHandler(verbosity: options.verbosityLevel)
      let log = Logger(label: Version.name) { _ in handler }
      do {
        // Before any thread exists: signals are events from now on, whatever the agent waits for (§19.2).
        var loop = try AgentLoop(signals: [SIGINT, SIGTERM])
        _ = signal(SIGPIPE, SIG_IGN)
        for warning in warnings { log.error("\(warning)") }
        log.info("CLI flags config: \(options.summary)")
        try AgentStart(options: options, log: log).run(&loop)
        return 0
      } catch {
        log.error("\(error)")
        return 1
      }
    }
  }
}
