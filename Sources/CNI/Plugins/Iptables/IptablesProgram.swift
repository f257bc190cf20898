import Firewall
import NetTypes

/// iptables for the table `nat`, with the plugins' errors.
struct IptablesProgram: Hashable, Sendable {
  private let tool: IptablesTool
  /// The family of the rules.
  var family: AddressFamily { tool.family }
  /// What it works on.
  var variant: IptablesVariant { tool.variant }

  /// The one that the host uses: `iptables-restore` of PATH.
  init(_ family: AddressFamily, _ environment: PluginEnvironment) throws(CNIError) {
    do throws(IptablesError) {
      tool = try IptablesTool(family, environment: environment.entries)
    } catch {
      throw .plain("\(error)\(error.isMissing ? ", or choose the nftables back end" : "")", .ioFailure)
    }
  }

  /// One of a variant, whichever the host uses; nil when it is not installed.
  init?(_ family: AddressFamily, _ variant: IptablesVariant, _ environment: PluginEnvironment) {
    guard let tool = IptablesTool(family, variant, environment: environment.entries) else { return nil }
    self.tool = tool
  }

  /// Changes the table `nat`: all commands or none. A lock that another program holds is waited for, at most 30 s.
  /// - Throws: what the program said; code 11 when the lock was not free.
  func change(_ commands: [String]) throws(CNIError) {
    do throws(IptablesError) {
      try tool.restore(["*nat"] + commands + ["COMMIT"], wait: 30)
    } catch {
      throw .plain("\(error)", error.isBusy ? .tryAgainLater : .other)
    }
  }

  /// The rules of a chain of the table `nat` as the program prints them: what comes after `-A CHAIN`.
  func rules(of chain: String) throws(CNIError) -> [String] {
    let start = "-A \(chain) "
    do throws(IptablesError) {
      return try tool.save("nat").filter { $0.utf8.starts(with: start.utf8) }.map {
        String(decoding: $0.utf8.dropFirst(start.utf8.count), as: UTF8.self)
      }
    } catch {
      throw .plain("\(error)")
    }
  }

  /// A rule as one line of input.
  static func line(_ words: [String]) -> String { IptablesTool.line(words) }
}
