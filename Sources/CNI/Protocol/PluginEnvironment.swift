import Syscalls

/// The environment a plugin is called with, as `NAME=value` entries.
public struct PluginEnvironment: Hashable, Sendable, ExpressibleByDictionaryLiteral {
  /// `NAME=value`, as execve(2) wants them; of a name that comes twice the first entry counts.
  public private(set) var entries: [String]

  /// Takes `NAME=value` entries as they are.
  public init(_ entries: [String]) { self.entries = entries }
  /// From names and values: `["CNI_COMMAND": "ADD"]`.
  public init(dictionaryLiteral elements: (String, String)...) { entries = elements.map { "\($0)=\($1)" } }

  /// This process's environment.
  public static var current: PluginEnvironment { PluginEnvironment(Environment.all) }

  /// The value of a variable, empty when it is not set; setting replaces every entry of the name.
  public subscript(name: String) -> String {
    get {
      for e in entries where Self.has(e, name) {
        return String(e.utf8.dropFirst(name.utf8.count + 1)) ?? ""
      }
      return ""
    }
    set {
      entries.removeAll { Self.has($0, name) }
      entries.append("\(name)=\(newValue)")
    }
  }

  private static func has(_ entry: String, _ name: String) -> Bool {
    let e = entry.utf8
    let n = name.utf8
    return e.count > n.count && e.starts(with: n) && e.dropFirst(n.count).first == UInt8(ascii: "=")
  }
}
