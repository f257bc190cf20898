import Syscalls

extension IptablesTool {
  /// Carries out commands in the form of iptables-save, without touching anything else: all of a table or nothing.
  /// - Parameters:
  ///   - lines: `*table`, commands, `COMMIT`; of several tables one after the other.
  ///   - wait: seconds to wait for a lock that another program holds.
  public func restore(_ lines: [String], wait: Int) throws(IptablesError) {
    for line in lines { try Self.check(line) }
    let text = lines.joined(separator: "\n") + "\n"
    let out = try Self.run(path, ["--noflush", "--wait=\(wait)"], environment, Array(text.utf8))
    guard !out.exit.isSuccess else { return }
    if variant == .legacy, out.exit == .status(4), Self.speaksOfLock(out.errorText) {
      let holder = XtablesLock.holder().map { ", held by \($0)" } ?? ""
      throw IptablesError("\(path): the lock /run/xtables.lock was not free for \(wait) s\(holder)", isBusy: true)
    }
    throw IptablesError("\(path): \(out.exit)", said: out.errorText, about: lines)
  }

  /// The rules of a table as iptables-save prints them.
  public func save(_ table: String) throws(IptablesError) -> [Substring] {
    let save = String(decoding: path.utf8.dropLast("restore".utf8.count), as: UTF8.self) + "save"
    let out = try Self.run(save, ["-t", table], environment)
    guard out.exit.isSuccess else { throw IptablesError("\(save): \(out.exit): \(out.errorText)") }
    return out.text.split(separator: "\n")
  }

  /// Another status 4 is a lack of something else, such as memory.
  private static func speaksOfLock(_ text: String) -> Bool {
    text.split { $0 == " " || $0 == "." || $0 == ":" || $0 == "\n" }.contains { $0 == "lock" || $0 == "xtables.lock" }
  }

  static func run(
    _ path: String, _ arguments: [String], _ environment: [String], _ input: [UInt8] = []
  ) throws(IptablesError) -> ChildProcess.Output {
    do throws(SystemError) {
      return try ChildProcess.run(path, arguments, environment: environment, input: input)
    } catch {
      throw IptablesError("cannot run \(path): \(error)")
    }
  }

  // MARK: lines

  /// iptables-restore reads so many bytes at once and takes the rest for another line, which would be another command.
  static let lineLimit = 10_238

  private static func check(_ line: String) throws(IptablesError) {
    let count = line.utf8.count
    guard count <= lineLimit, !line.utf8.contains(0), !line.utf8.contains(0x0a) else {
      throw IptablesError(
        "a rule does not fit on a line of iptables-restore (\(count) bytes, at most \(lineLimit), no line breaks): "
          + "\(line.unicodeScalars.prefix(80).map { $0.value < 0x20 ? " " : String($0) }.joined())…; use shorter or fewer "
          + "conditions")
    }
  }

  /// A rule as one line of input: words with anything but plain characters are quoted. Line breaks and zeros cannot be
  /// written and become spaces.
  public static func line(_ words: [String]) -> String {
    words.map { word in
      let isPlain = !word.isEmpty && word.utf8.allSatisfy { $0 > 0x20 && $0 != 0x22 && $0 != 0x27 && $0 != 0x5c }
      if isPlain { return word }
      var out = "\""
      for c in word.unicodeScalars {
        if c == "\"" || c == "\\" { out.unicodeScalars.append("\\") }
        out.unicodeScalars.append(c.value == 0 || c == "\n" || c == "\r" ? " " : c)
      }
      return out + "\""
    }.joined(separator: " ")
  }
}

/// The lock that the legacy variant of iptables takes for every change.
enum XtablesLock {
  /// The process that holds it, as far as `/proc/locks` tells.
  static func holder() -> String? {
    guard let status = try? Files.status("/run/xtables.lock"), let locks = try? Files.text("/proc/locks") else {
      return nil
    }
    for line in locks.split(separator: "\n") {
      // 1: FLOCK  ADVISORY  WRITE 1234 00:19:567 0 EOF
      let words = line.split(separator: " ")
      guard words.count > 5, words[1] == "FLOCK", words[5].split(separator: ":").last == "\(status.inode)"[...] else {
        continue
      }
      let program = (try? Files.text("/proc/\(words[4])/comm"))?.split(separator: "\n").first
      return "pid \(words[4])" + (program.map { " (\($0))" } ?? "")
    }
    return nil
  }
}
