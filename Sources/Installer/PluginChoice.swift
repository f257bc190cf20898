import CNI

/// Which plugins are to be installed.
public struct PluginChoice: Hashable, Sendable {
  /// Names in the order of the registry.
  public let names: [String]
  /// True when they were named one by one: then each of them is insisted upon.
  public let isNamed: Bool

  /// `flannel`, as Flannel installs it.
  public static let standard = PluginChoice(names: ["flannel"], isNamed: true)

  private init(names: [String], isNamed: Bool) {
    self.names = names
    self.isNamed = isNamed
  }

  /// `all`, or a comma list of names.
  public init(parsing text: String) throws(InstallError) {
    let known = PluginRegistry.names
    if text == "all" {
      self.init(names: known, isNamed: false)
      return
    }
    let words = text.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
    for word in words where !known.contains(word) {
      throw InstallError(
        "--plugins \(text): there is no plugin \"\(word)\" in this version; it has \(known.joined(separator: ", "))",
        advice: "name some of these, separated by commas, or all")
    }
    self.init(names: known.filter(words.contains), isNamed: true)
  }
}
