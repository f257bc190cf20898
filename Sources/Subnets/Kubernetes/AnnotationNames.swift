public import NetTypes

/// The names of the node annotations under a prefix (contract flanneld §6.1).
public struct AnnotationNames: Hashable, Sendable {
  /// What all names begin with; ends with `/` or `-`.
  public let prefix: String

  /// Takes the value of `--kube-annotation-prefix`.
  public init(prefix given: String) throws(AnnotationPrefixError) {
    let slashes = given.utf8.count { $0 == UInt8(ascii: "/") }
    guard slashes <= 1 else { throw .slashes(given) }
    var text = slashes == 0 ? given + "/" : given
    if !text.hasSuffix("/") && !text.hasSuffix("-") { text += "-" }
    guard Self.isValid(text) else { throw .format(given) }
    prefix = text
  }

  /// Whether the end of the text is a domain name of two labels or more, `/`, and perhaps a word that ends with `-`.
  private static func isValid(_ text: String) -> Bool {
    let parts = text.utf8.split(separator: UInt8(ascii: "/"), maxSplits: 1, omittingEmptySubsequences: false)
    guard parts.count == 2 else { return false }
    let (domain, word) = (parts[0], parts[1])
    guard word.isEmpty || word.count > 1 && word.allSatisfy(isLabelCharacter) else { return false }
    let label = domain.reversed().prefix(while: isLabelCharacter)
    let rest = domain.dropLast(label.count)
    return !label.isEmpty && rest.last == UInt8(ascii: ".") && rest.dropLast().last.map(isLabelCharacter) == true
  }

  private static func isLabelCharacter(_ c: UInt8) -> Bool {
    switch c {
    case 0x61...0x7a, 0x30...0x39, UInt8(ascii: "_"), UInt8(ascii: "-"): true
    default: false
    }
  }

  /// `true` on nodes that take part.
  public var manager: String { prefix + "kube-subnet-manager" }
  /// `vxlan`, …
  public var backendType: String { prefix + "backend-type" }
  /// JSON for a family.
  public func backendData(_ family: AddressFamily) -> String {
    prefix + (family == .ipv4 ? "backend-data" : "backend-v6-data")
  }
  /// The address for peers.
  public func publicIP(_ family: AddressFamily) -> String { prefix + "public-" + family.addressWord }
  /// Set by the operator: what to announce instead.
  public func publicIPOverwrite(_ family: AddressFamily) -> String { publicIP(family) + "-overwrite" }
  /// Set by the operator: what to use as `--public-ip`.
  public func nodePublicIP(_ family: AddressFamily) -> String { prefix + "node-public-" + family.addressWord }
}

extension AddressFamily {
  fileprivate var addressWord: String { self == .ipv4 ? "ip" : "ipv6" }
}

/// Why a prefix of annotations cannot be used; the texts are those of contract flanneld §6.1.
public enum AnnotationPrefixError: Error, Hashable, Sendable, CustomStringConvertible {
  /// More than one slash.
  case slashes(String)
  /// Not of the form `org.com/word-`.
  case format(String)

  /// One line for the operator.
  public var description: String {
    switch self {
    case .slashes(let text):
      "subnet/kube: prefix can contain at most single slash: --kube-annotation-prefix=\(text)"
    case .format(let text):
      "subnet/kube: prefix must be in a format: fqdn/[0-9a-z-_]*: --kube-annotation-prefix=\(text)"
    }
  }
}
