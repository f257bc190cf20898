/// A version of the CNI specification.
public struct CNIVersion: Hashable, Sendable, Comparable, CustomStringConvertible {
  /// First number; 0 before the first stable release of the specification.
  public let major: Int
  /// Second number; grows when commands or members are added.
  public let minor: Int
  /// Third number; grows with corrections.
  public let micro: Int

  /// Any three numbers; `all` tells which versions are spoken.
  public init(_ major: Int, _ minor: Int, _ micro: Int) {
    self.major = major
    self.minor = minor
    self.micro = micro
  }

  /// What a configuration without `cniVersion` means. Results hold one address per family.
  public static let v0_1_0 = CNIVersion(0, 1, 0)
  /// Results as in 0.1.0.
  public static let v0_2_0 = CNIVersion(0, 2, 0)
  /// Results with lists of interfaces, addresses and routes.
  public static let v0_3_0 = CNIVersion(0, 3, 0)
  /// Results as in 0.3.0.
  public static let v0_3_1 = CNIVersion(0, 3, 1)
  /// Adds CHECK; DEL gets the previous result. Results as in 0.3.0.
  public static let v0_4_0 = CNIVersion(0, 4, 0)
  /// Addresses in results no longer name their IP version.
  public static let v1_0_0 = CNIVersion(1, 0, 0)
  /// Adds GC and STATUS, and more members to interfaces and routes.
  public static let v1_1_0 = CNIVersion(1, 1, 0)

  /// Every version that is spoken here, oldest first.
  public static let all: [CNIVersion] = [.v0_1_0, .v0_2_0, .v0_3_0, .v0_3_1, .v0_4_0, .v1_0_0, .v1_1_0]
  /// Their texts, for the lists that plugins print.
  public static let allTexts = all.map(\.description)
  /// The last of `all`.
  public static let newest = CNIVersion.v1_1_0

  /// By number, so that 0.10.0 comes after 0.9.0.
  public static func < (a: Self, b: Self) -> Bool {
    (a.major, a.minor, a.micro) < (b.major, b.minor, b.micro)
  }

  /// Always three numbers, as in `cniVersion`.
  public var description: String { "\(major).\(minor).\(micro)" }

  /// Parses one to three numbers; an empty text is 0.1.0. A failure is code 6.
  public init(parsing text: String) throws(CNIError) {
    if let known = Self.all.first(where: { $0.description == text }) {
      self = known
      return
    }
    guard !text.isEmpty else {
      self = .v0_1_0
      return
    }
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count <= 3 else { throw .decoding("invalid version \(quoted(text)): too many parts") }
    var numbers = [0, 0, 0]
    for (i, (part, name)) in zip(parts, ["major", "minor", "micro"]).enumerated() {
      guard let n = Int(part) else {
        throw .decoding(
          "failed to convert \(name) version part \(quoted(part)): strconv.Atoi: parsing \(quoted(part)): invalid syntax"
        )
      }
      numbers[i] = n
    }
    self.init(numbers[0], numbers[1], numbers[2])
  }

  /// The versions with the same layout of results, by their texts; nil for an unknown version.
  var layout: [String]? {
    switch self {
    case .v0_1_0, .v0_2_0: ["0.1.0", "0.2.0"]
    case .v0_3_0, .v0_3_1, .v0_4_0: ["0.3.0", "0.3.1", "0.4.0"]
    case .v1_0_0, .v1_1_0: ["1.0.0", "1.1.0"]
    default: nil
    }
  }
}
