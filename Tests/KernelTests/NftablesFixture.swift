import JSON
import Netlink
import Syscalls
import TestSupport
import Testing

/// Loads and lists rule sets with the tools of the netfilter project, the oracle of these tests.
extension TestNamespace {
  /// A socket for nf_tables inside.
  func nftSocket() throws -> NftSocket { try NftSocket(in: open()) }

  /// `nft -f -`
  func nftLoad(_ text: String) throws { try checked("/usr/sbin/nft", ["-f", "-"], text) }

  /// `nft list ruleset`
  func nftList() throws -> String { try checked("/usr/sbin/nft", ["list", "ruleset"]).text }

  /// `nft -j list ruleset`: one line of JSON for each object, without handles, times left and the header; elements of
  /// sets in the order of their text, because that of the kernel is random.
  func nftObjects() throws -> [String] {
    let list = try JSONValue(parsing: checked("/usr/sbin/nft", ["-j", "list", "ruleset"]).stdout)
    let objects = try #require(list["nftables"]?.arrayValue)
    return objects.filter { $0["metainfo"] == nil }.map { Self.comparable($0).text(.sorted) }
  }

  private static func comparable(_ value: JSONValue) -> JSONValue {
    switch value {
    case .array(let a): return .array(a.map(comparable))
    case .object(let o):
      var out = JSONObject()
      for (name, member) in o.members where name != "handle" && name != "expires" {
        var member = comparable(member)
        if name == "elem" || name == "set", let elements = member.arrayValue {
          member = .array(elements.sorted { $0.text(.sorted) < $1.text(.sorted) })
        }
        out[name] = member
      }
      return .object(out)
    default: return value
    }
  }

  /// Runs a program inside that must end well.
  @discardableResult
  func checked(_ program: String, _ arguments: [String], _ input: String = "") throws -> ChildProcess.Output {
    let output = try run(program, arguments, input: Array(input.utf8))
    guard output.exit.isSuccess else {
      throw NftFailure("\(program) \(arguments): \(output.exit)\n\(output.errorText)\n\(input)")
    }
    return output
  }
}

/// A tool or a comparison that failed.
struct NftFailure: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

/// Compares line by line and shows only what differs.
func expectSame(_ ours: [String], _ theirs: [String], _ comment: String = "", at: SourceLocation = #_sourceLocation) {
  for line in ours.difference(from: theirs) {
    switch line {
    case .insert(_, let text, _): Issue.record("only ours \(comment): \(text)", sourceLocation: at)
    case .remove(_, let text, _): Issue.record("only the oracle's \(comment): \(text)", sourceLocation: at)
    }
  }
}
