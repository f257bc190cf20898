import Glibc
public import Logging

/// Prints log events to standard error in klog's text form, one `write(2)` per event:
/// `I1123 12:34:56.123456   12345 AgentMain.swift:12] message` (local time, process id, call site).
public struct KlogHandler: LogHandler {
  /// Events below this level are not printed.
  public var logLevel: Logger.Level
  /// Fields of every line. Of the same name, those of the provider and of the event win.
  public var metadata: Logger.Metadata = [:]
  /// More fields, asked for with every event; nil = none.
  public var metadataProvider: Logger.MetadataProvider?
  private let descriptor: Int32

  /// - Parameters:
  ///   - verbosity: klog's `-v`. 0 shows info and above, 2 and more debug events, 4 and more trace events.
  ///   - descriptor: where to write; standard error unless a test says otherwise.
  public init(verbosity: Int = 0, descriptor: Int32 = STDERR_FILENO) {
    logLevel = verbosity >= 4 ? .trace : verbosity >= 2 ? .debug : .info
    self.descriptor = descriptor
  }

  /// One of the fields of every line; setting nil removes it.
  public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  /// Prints one line: message, fields sorted by name, error. A line that cannot be written is lost.
  public func log(event: LogEvent) {
    var fields = metadata
    if let provided = metadataProvider?.get() { fields.merge(provided) { $1 } }
    if let own = event.metadata { fields.merge(own) { $1 } }
    var text = event.message.description
    for (key, value) in fields.sorted(by: { $0.key < $1.key }) { text += " \(key)=\(goQuoted(value.description))" }
    if let error = event.error { text += ": \(error)" }
    let line = Self.line(
      level: event.level, nanoseconds: Self.now(), process: getpid(), file: event.file, line: event.line, message: text)
    StandardError.write(line, to: descriptor)
  }

  /// A complete line. `nanoseconds` is wall clock time since the epoch, shown in local time.
  static func line(
    level: Logger.Level, nanoseconds: Int64, process: Int32, file: String, line: UInt, message: String
  ) -> String {
    var seconds = time_t(nanoseconds / 1_000_000_000)
    var local = unsafe tm()
    _ = unsafe localtime_r(&seconds, &local)
    let (month, day, clock) = unsafe (local.tm_mon + 1, local.tm_mday, [local.tm_hour, local.tm_min, local.tm_sec])
    let microseconds = Int(nanoseconds % 1_000_000_000) / 1000
    let date = padded(Int(month), 2) + padded(Int(day), 2)
    let time = clock.map { padded(Int($0), 2) }.joined(separator: ":")
    let name = file.utf8.lastIndex(of: UInt8(ascii: "/")).map { file[file.utf8.index(after: $0)...] } ?? file[...]
    return "\(letter(level))\(date) \(time).\(padded(microseconds, 6)) \(padded(Int(process), 7, " ")) "
      + "\(name):\(line)] \(message)\n"
  }

  private static func letter(_ level: Logger.Level) -> Character {
    switch level {
    case .trace, .debug, .info, .notice: "I"
    case .warning: "W"
    case .error: "E"
    case .critical: "F"
    }
  }

  private static func padded(_ number: Int, _ width: Int, _ fill: Character = "0") -> String {
    let text = String(number)
    return String(repeating: fill, count: max(0, width - text.utf8.count)) + text
  }

  private static func now() -> Int64 {
    var t = timespec()
    _ = unsafe clock_gettime(CLOCK_REALTIME, &t)
    return Int64(t.tv_sec) * 1_000_000_000 + Int64(t.tv_nsec)
  }
}
