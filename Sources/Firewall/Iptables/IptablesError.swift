/// Why iptables did not do what was asked. Each table is as it was, or as asked where several were to be changed.
public struct IptablesError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The program, what it said, and the line of input that it refused.
  public var description: String
  /// Another program holds the lock: later it may work.
  public var isBusy: Bool
  /// The program is not installed.
  public var isMissing: Bool
  /// The program or the kernel did not take the rules: they may be too new for it.
  public var isRefusal: Bool

  /// - Parameter description: what failed and what can be done.
  public init(_ description: String, isBusy: Bool = false, isMissing: Bool = false, isRefusal: Bool = false) {
    self.description = description
    self.isBusy = isBusy
    self.isMissing = isMissing
    self.isRefusal = isRefusal
  }

  /// What a program said about the lines that it was given, with the line that it means and what may be missing.
  init(_ start: String, said text: String, about lines: [String]) {
    // Where to find the manual is no part of the reason.
    let said = text.split(separator: "\n").filter { !$0.utf8.starts(with: "Try `".utf8) }.joined(separator: "; ")
    var description = "\(start): \(said)"
    if let i = Self.lineNumber(in: text).map({ $0 &- 1 }), lines.indices.contains(i) {
      description += " (the line is: \(lines[i]))"
      description += Self.hint(text, lines, i)
    }
    self.init(description, isRefusal: true)
  }

  /// The number behind the word `line` in what iptables-restore said.
  static func lineNumber(in text: String) -> Int? {
    let words = text.split { $0 == " " || $0 == "\n" || $0 == ":" }
    guard let i = words.firstIndex(where: { $0 == "line" }), words.indices.contains(i + 1) else { return nil }
    return Int(words[i + 1])
  }

  /// The parts of iptables that the refused line needs, where one of them may be missing. The legacy variant hands a table
  /// over as a whole: its `COMMIT` is refused, for any rule.
  private static func hint(_ text: String, _ lines: [String], _ refused: Int) -> String {
    let words = text.split { $0 == " " || $0 == "\n" }
    if let i = words.firstIndex(of: "load"), words.indices.contains(i + 2), words[i + 2].first == "`" {
      return "; this iptables has no such extension: is it installed completely?"
    }
    let isCommit = lines[refused] == "COMMIT"
    let isAbsent = text.split(separator: "(").contains { $0.utf8.starts(with: "No such file".utf8) }
    guard isCommit || isAbsent else { return "" }
    let start = isCommit ? lines[..<refused].lastIndex { $0.first == "*" } ?? refused : refused
    let names = Set(lines[start...refused].flatMap(extensions))
    return names.isEmpty ? "" : "; has the kernel the modules for \(names.sorted().joined(separator: ", "))?"
  }

  /// The matches of a line, and its target if that is not a chain or a verdict.
  private static func extensions(_ line: String) -> [String] {
    let words = line.split(separator: " ")
    return zip(words, words.dropFirst()).filter {
      $0 == "-m" || $0 == "-j" && ["MASQUERADE", "DNAT", "MARK"].contains($1)
    }.map { String($1) }
  }
}
