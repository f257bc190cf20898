import Firewall
import NetTypes

/// Conditions for nftables are words of its language, which only `nft` knows. They stand in front of the rules of the
/// container they were configured for (contract cni §C 19).
extension PortmapPlan {
  /// The words of this family; empty = none.
  var conditions: [String] { configuration.conditions[family] ?? [] }

  /// The rules of `portRules` with their conditions, for `nft -f -`.
  func conditionalScript() throws(CNIError) -> String {
    try Self.check(conditions)
    let ip = family == .ipv4 ? "ip" : "ip6"
    let condition = conditions.joined(separator: " ")
    var out = ""
    for m in mappings {
      let host = m.hostIP.map { " \(ip) daddr \($0)" } ?? ""
      out += "add rule \(ip) \(HostPortTable.name) \(HostPortTable.ports) \(condition)\(host) \(m.transport.name) "
      out += "dport \(m.hostPort) dnat to \(endpoint(m)) comment \"\(owner)\"\n"
    }
    return out
  }

  /// `10.0.0.2:80`, `[2001:db8::2]:80`
  func endpoint(_ m: PortMapping) -> String {
    family == .ipv4 ? "\(target.address):\(m.containerPort)" : "[\(target.address)]:\(m.containerPort)"
  }

  /// The words stay inside their rule: nothing in them ends it or begins another one.
  static func check(_ words: [String]) throws(CNIError) {
    var isQuoted = false
    var depth = 0
    for word in words {
      for c in word.utf8 {
        switch c {
        case UInt8(ascii: "\""): isQuoted.toggle()
        case 0..<0x20, 0x7f, UInt8(ascii: ";"), UInt8(ascii: "#"), UInt8(ascii: "\\"), UInt8(ascii: "$"):
          throw refusal(word, "a control character, ; # \\ or $")
        case UInt8(ascii: "{") where !isQuoted: depth += 1
        case UInt8(ascii: "}") where !isQuoted:
          depth -= 1
          if depth < 0 { throw refusal(word, "a } without {") }
        default: break
        }
      }
    }
    guard !isQuoted else { throw refusal(words.joined(separator: " "), "a quote that is not closed") }
    guard depth == 0 else { throw refusal(words.joined(separator: " "), "a { without }") }
  }

  private static func refusal(_ word: String, _ what: String) -> CNIError {
    .plain(
      "Invalid condition \(quoted(word)): it holds \(what); expected words of nft that belong into one rule, such as "
        + "\"ip\", \"saddr\", \"!=\", \"10.0.0.0/8\"", .invalidConfiguration)
  }
}
