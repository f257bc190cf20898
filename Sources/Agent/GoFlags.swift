/// A table of command line flags in the grammar of Go's `flag` package, bound to fields of `Target`
/// (contract flanneld §1.1).
///
/// `-name` and `--name` are equal; a value follows after `=` or as the next word; a boolean takes a value only after
/// `=`; parsing stops at `--` or at the first word that is no flag.
public struct GoFlags<Target>: Sendable {
  /// One flag: how it is shown and how its text is stored.
  public struct Flag: Sendable {
    /// Name without dashes.
    public let name: String
    /// Explanation; a word in back quotes names the value in the usage text.
    public let usage: String
    /// What the usage text calls the value when `usage` quotes no word; empty for booleans.
    let typeName: String
    /// A boolean needs no value.
    let isBoolean: Bool
    /// Stores a value; returns what is wrong with it, in Go's words, or nil.
    let store: @Sendable (inout Target, String) -> String?
    /// The stored value as text.
    let show: @Sendable (Target) -> String
    /// The value as the usage text shows a default; nil for Go's zero value.
    let showDefault: @Sendable (Target) -> String?
  }

  /// Where a flag's value is stored.
  public typealias Field<Value> = any WritableKeyPath<Target, Value> & Sendable

  /// What became of the command line.
  public enum Outcome: Hashable, Sendable {
    /// All flags are stored; `given` holds the names that were on the command line.
    case parsed(given: Set<String>)
    /// `-h`, `-help` or `--help`.
    case help
    /// The error line, e.g. `flag provided but not defined: -foo`.
    case failure(String)
  }

  /// All flags.
  public let flags: [Flag]

  /// A table; names must differ.
  public init(_ flags: [Flag]) { self.flags = flags }

  /// Parses the words after the program name into `target`.
  public func parse(_ arguments: [String], into target: inout Target) -> Outcome {
    var rest = arguments[...]
    var given: Set<String> = []
    let dash: Unicode.Scalar = "-"
    let equals: Unicode.Scalar = "="
    // Scalars, because a combining mark after `-` or `=` would hide it in a Character.
    while let word = rest.first?.unicodeScalars, word.count >= 2, word.first == dash {
      rest = rest.dropFirst()
      if word.elementsEqual([dash, dash]) { break }
      let body = word.dropFirst(word.starts(with: [dash, dash]) ? 2 : 1)
      guard let first = body.first, first != dash, first != equals else {
        return .failure("bad flag syntax: \(String(word))")
      }
      let parts = body.split(separator: equals, maxSplits: 1, omittingEmptySubsequences: false)
      let name = String(parts[0])
      guard let flag = flag(named: name) else {
        if name == "help" || name == "h" { return .help }
        return .failure("flag provided but not defined: -\(name)")
      }
      var value = parts.count == 2 ? String(parts[1]) : nil
      if value == nil { value = flag.isBoolean ? "true" : rest.popFirst() }
      guard let value else { return .failure("flag needs an argument: -\(name)") }
      if let problem = flag.store(&target, value) {
        let (what, which) = flag.isBoolean ? ("boolean value", "for") : ("value", "for flag")
        return .failure("invalid \(what) \(goQuoted(value)) \(which) -\(name): \(problem)")
      }
      given.insert(name)
    }
    return .parsed(given: given)
  }

  /// Looks up every flag that is not in `given` as `<prefix>_<NAME>` (upper case, `-` becomes `_`) and stores what is
  /// there and not empty. Bad values are returned as texts, the flag keeps its value (contract flanneld §1.2).
  public func readEnvironment(
    prefix: String, given: Set<String>, into target: inout Target, lookUp: (String) -> String?
  ) -> [String] {
    var problems: [String] = []
    for flag in flags where !given.contains(flag.name) {
      let key = prefix + "_" + String(flag.name.uppercased().map { $0 == "-" ? "_" : $0 })
      guard let value = lookUp(key), !value.isEmpty else { continue }
      if let problem = flag.store(&target, value) {
        problems.append("invalid value \(goQuoted(value)) for \(key): \(problem)")
      }
    }
    return problems
  }

  /// `Usage: <program> [OPTION]...` and all flags by name, laid out as Go's `PrintDefaults` does.
  public func usage(program: String, defaults: Target) -> String {
    var out = "Usage: \(program) [OPTION]...\n"
    for flag in flags.sorted(by: { $0.name < $1.name }) {
      let (placeholder, text) = flag.unquotedUsage
      let head = "  -\(flag.name)" + (placeholder.isEmpty ? "" : " \(placeholder)")
      out += head + (head.utf8.count <= 4 ? "\t" : "\n    \t")
      out += text.split(separator: "\n", omittingEmptySubsequences: false).joined(separator: "\n    \t")
      if let shown = flag.showDefault(defaults) { out += " (default \(shown))" }
      out += "\n"
    }
    return out
  }

  private func flag(named name: String) -> Flag? { flags.first { $0.name == name } }
}

extension GoFlags.Flag {
  /// The name of the value and the text without its back quotes (Go's `flag.UnquoteUsage`).
  var unquotedUsage: (placeholder: String, text: String) {
    let parts = usage.split(separator: "`", maxSplits: 2, omittingEmptySubsequences: false)
    guard parts.count == 3 else { return (typeName, usage) }
    return (String(parts[1]), parts.joined())
  }

  /// A boolean.
  public static func bool(_ name: String, _ path: GoFlags.Field<Bool>, _ usage: String) -> Self {
    Self(
      name: name, usage: usage, typeName: "", isBoolean: true,
      store: { target, text in
        guard let value = goBool(text) else { return "parse error" }
        target[keyPath: path] = value
        return nil
      },
      show: { String($0[keyPath: path]) },
      showDefault: { $0[keyPath: path] ? "true" : nil })
  }

  /// A 64-bit integer in Go's syntax.
  public static func int(_ name: String, _ path: GoFlags.Field<Int>, _ usage: String) -> Self {
    Self(
      name: name, usage: usage, typeName: "int", isBoolean: false,
      store: { target, text in
        switch goInteger(text) {
        case .value(let value): target[keyPath: path] = value
        case .syntax: return "parse error"
        case .range: return "value out of range"
        }
        return nil
      },
      show: { String($0[keyPath: path]) },
      showDefault: { $0[keyPath: path] == 0 ? nil : String($0[keyPath: path]) })
  }

  /// A text, checked by `check` (returns what is wrong, or nil).
  public static func string(
    _ name: String, _ path: GoFlags.Field<String>, _ usage: String, typeName: String = "string",
    check: @escaping @Sendable (String) -> String? = { _ in nil }
  ) -> Self {
    Self(
      name: name, usage: usage, typeName: typeName, isBoolean: false,
      store: { target, text in
        if let problem = check(text) { return problem }
        target[keyPath: path] = text
        return nil
      },
      show: { goQuoted($0[keyPath: path]) },
      showDefault: { $0[keyPath: path].isEmpty ? nil : goQuoted($0[keyPath: path]) })
  }

  /// A flag that may be given several times; every value is kept as it is, commas included.
  public static func repeated(
    _ name: String, _ path: GoFlags.Field<[String]>, _ usage: String
  ) -> Self {
    Self(
      name: name, usage: usage, typeName: "value", isBoolean: false,
      store: { target, text in
        target[keyPath: path].append(text)
        return nil
      },
      show: { "[" + $0[keyPath: path].map(goQuoted).joined(separator: " ") + "]" },
      showDefault: { _ in nil })
  }
}
