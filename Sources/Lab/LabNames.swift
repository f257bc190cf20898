/// The names of a lab, its nodes and pods, and of the network namespaces they live in.
///
/// Namespaces are bind mounts in `/run/netns`, so that `ip netns exec weft-lab-n1 …` works:
/// `weft-LAB-lan` holds the underlay bridge, `weft-LAB-internet` is the world outside of the cluster, `weft-LAB-nK` a node,
/// `weft-LAB-nK-POD` a pod.
public struct LabNames: Hashable, Sendable {
  /// Where the namespaces are mounted.
  public static let namespaceDirectory = "/run/netns"

  /// The name of the lab.
  public let lab: String

  /// - Throws: when the name is not 1…20 lower-case letters and digits. (A hyphen would make the namespaces of lab
  ///   `a` look like those of lab `a-n1`.)
  public init(lab: String) throws(LabError) {
    guard (1...20).contains(lab.utf8.count), lab.utf8.allSatisfy(Self.isLowerOrDigit) else {
      throw LabError("lab name \"\(lab)\" is not valid", advice: "use 1 to 20 lower-case letters and digits")
    }
    self.lab = lab
  }

  /// The name of node number `k`, counted from 1.
  public static func node(_ k: Int) -> String { "n\(k)" }

  /// The number of a node by its name; nil when it is no node name.
  public static func nodeNumber(_ name: some StringProtocol) -> Int? {
    guard name.first == "n", let k = Int(name.dropFirst()), (1...LabPlan.nodeLimit).contains(k), "n\(k)" == name else {
      return nil
    }
    return k
  }

  /// The namespace of the underlay bridge.
  public var lan: String { "weft-\(lab)-lan" }
  /// The namespace of the internet.
  public var internet: String { "weft-\(lab)-\(Internet.name)" }
  /// The namespace of a node.
  public func namespace(node: String) -> String { "weft-\(lab)-\(node)" }
  /// The namespace of a pod.
  public func namespace(pod: PodName) -> String { "weft-\(lab)-\(pod)" }
  /// The path of a namespace.
  public static func path(_ namespace: String) -> String { "\(namespaceDirectory)/\(namespace)" }

  /// True when a namespace of that name is one of this lab's.
  public func owns(namespace name: String) -> Bool {
    let prefix = "weft-\(lab)-"
    guard name.hasPrefix(prefix) else { return false }
    let rest = name.dropFirst(prefix.count)
    if rest == "lan" || rest == Internet.name { return true }
    guard let node = rest.split(separator: "-", omittingEmptySubsequences: false).first else { return false }
    return Self.nodeNumber(node) != nil
  }

  static func isLowerOrDigit(_ c: UInt8) -> Bool { (0x61...0x7a).contains(c) || (0x30...0x39).contains(c) }
}

/// A pod's name: its node and its own name there, written `n1-web`.
public struct PodName: Hashable, Sendable, Comparable, CustomStringConvertible {
  /// The node's name.
  public let node: String
  /// The name on the node.
  public let name: String

  /// - Throws: when the name is not a DNS label of at most 30 bytes.
  public init(node: String, name: String) throws(LabError) {
    let c = Array(name.utf8)
    guard (1...30).contains(c.count), let first = c.first, let last = c.last, LabNames.isLowerOrDigit(first),
      LabNames.isLowerOrDigit(last), c.allSatisfy({ LabNames.isLowerOrDigit($0) || $0 == UInt8(ascii: "-") })
    else {
      throw LabError(
        "pod name \"\(name)\" is not valid",
        advice: "use 1 to 30 lower-case letters, digits and hyphens, neither first nor last a hyphen")
    }
    self.node = node
    self.name = name
  }

  /// `n1-web`
  public var description: String { "\(node)-\(name)" }

  /// By node number, then `p2` before `p10`, then by text.
  public static func < (a: Self, b: Self) -> Bool { a.sortKey < b.sortKey }

  private var sortKey: (Int, Int, String) {
    let number = name.first == "p" ? Int(name.dropFirst()) : nil
    return (LabNames.nodeNumber(node) ?? .max, number ?? .max, name)
  }
}
