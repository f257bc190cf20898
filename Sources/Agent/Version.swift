/// What this program calls itself.
public enum Version {
  /// Product name.
  public static let name = "weft"
  /// Semantic version.
  public static let number = "0.1.0"
  /// Source revision the program was built from.
  public static let commit = "unknown"
  /// What `--version` prints.
  public static let text = "\(name) \(number) (commit \(commit))"
}
