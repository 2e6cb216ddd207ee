"""Venue replies hand-built from documentation: shapes and field names of the venues' API pages.

None of them was recorded. The figures are made up and consistent with each other: what a venue
would report as equity is the sum of what these replies hold.
"""

from __future__ import annotations

from typing import Any

Reply = Any

# ------ Binance (hand-built from documentation)

#: USD-M, account V2: 10,000 cross and 600 isolated; BTC cross +100, ETH isolated +200.
BINANCE_ACCOUNT: Reply = {
    "feeTier": 0,
    "multiAssetsMargin": False,
    "totalInitialMargin": "900.00000000",
    "totalMaintMargin": "53.40000000",
    "totalWalletBalance": "10600.00000000",
    "totalUnrealizedProfit": "300.00000000",
    "totalMarginBalance": "10900.00000000",
    "totalCrossWalletBalance": "10000.00000000",
    "totalCrossUnPnl": "100.00000000",
    "availableBalance": "9490.00000000",
    "assets": [
        {
            "asset": "USDT",
            "walletBalance": "10600.00000000",
            "unrealizedProfit": "300.00000000",
            "marginBalance": "10900.00000000",
            "maintMargin": "53.40000000",
            "initialMargin": "900.00000000",
            "crossWalletBalance": "10000.00000000",
            "crossUnPnl": "100.00000000",
            "availableBalance": "9490.00000000",
        }
    ],
    "positions": [
        {
            "symbol": "BTCUSDT",
            "initialMargin": "610",
            "maintMargin": "24.4",
            "unrealizedProfit": "100.00000000",
            "leverage": "10",
            "isolated": False,
            "entryPrice": "60000.0",
            "positionSide": "BOTH",
            "positionAmt": "0.100",
        },
        {
            "symbol": "ETHUSDT",
            "initialMargin": "290",
            "maintMargin": "29",
            "unrealizedProfit": "200.00000000",
            "leverage": "20",
            "isolated": True,
            "isolatedWallet": "600.00000000",
            "entryPrice": "3000.0",
            "positionSide": "BOTH",
            "positionAmt": "-2.000",
        },
        {
            "symbol": "SOLUSDT",
            "initialMargin": "0",
            "maintMargin": "0",
            "unrealizedProfit": "0",
            "leverage": "20",
            "isolated": True,
            "entryPrice": "0.0",
            "positionSide": "BOTH",
            "positionAmt": "0",
        },
    ],
}

#: The same account's positions, V2.
BINANCE_POSITIONS: Reply = [
    {
        "symbol": "BTCUSDT",
        "positionAmt": "0.100",
        "entryPrice": "60000.0",
        "markPrice": "61000.0",
        "unRealizedProfit": "100.00000000",
        "liquidationPrice": "0",
        "leverage": "10",
        "marginType": "cross",
        "isolatedMargin": "0.00000000",
        "isolatedWallet": "0",
        "positionSide": "BOTH",
        "notional": "6100.0",
    },
    {
        "symbol": "ETHUSDT",
        "positionAmt": "-2.000",
        "entryPrice": "3000.0",
        "markPrice": "2900.0",
        "unRealizedProfit": "200.00000000",
        "liquidationPrice": "3266.66",
        "leverage": "20",
        "marginType": "isolated",
        "isolatedMargin": "800.00000000",
        "positionSide": "BOTH",
        "notional": "-5800.0",
    },
]

#: Account V3 and positions V3 of a hedge-mode account in multi-assets mode.
BINANCE_ACCOUNT_V3: Reply = {
    "totalInitialMargin": "1220.00",
    "totalMaintMargin": "48.80",
    "totalWalletBalance": "15000.00",
    "totalUnrealizedProfit": "50.00",
    "totalMarginBalance": "15050.00",
    "totalCrossWalletBalance": "15000.00",
    "totalCrossUnPnl": "50.00",
    "availableBalance": "13830.00",
    "assets": [
        {
            "asset": "USDT",
            "walletBalance": "9000.00",
            "crossWalletBalance": "9000.00",
            "unrealizedProfit": "50.00",
            "marginBalance": "9050.00",
        },
        {
            "asset": "BTC",
            "walletBalance": "0.1",
            "crossWalletBalance": "0.1",
            "unrealizedProfit": "0",
            "marginBalance": "0.1",
        },
    ],
    "positions": [
        {
            "symbol": "BTCUSDT",
            "positionSide": "LONG",
            "positionAmt": "0.1",
            "unrealizedProfit": "100.0",
            "isolatedMargin": "0",
            "notional": "6100.0",
            "isolatedWallet": "0",
            "initialMargin": "610",
            "maintMargin": "24.4",
        },
        {
            "symbol": "BTCUSDT",
            "positionSide": "SHORT",
            "positionAmt": "-0.1",
            "unrealizedProfit": "-50.0",
            "isolatedMargin": "0",
            "notional": "-6100.0",
            "isolatedWallet": "0",
            "initialMargin": "610",
            "maintMargin": "24.4",
        },
    ],
}

#: COIN-M: 1 BTC; 10 contracts of 100 USD long from 50,000, mark 62,500: +0.004 BTC.
BINANCE_COINM_ACCOUNT: Reply = {
    "assets": [
        {
            "asset": "BTC",
            "walletBalance": "1.00000000",
            "unrealizedProfit": "0.00400000",
            "marginBalance": "1.00400000",
            "maintMargin": "0.00006400",
            "initialMargin": "0.00160000",
            "crossWalletBalance": "1.00000000",
            "crossUnPnl": "0.00400000",
            "availableBalance": "1.00240000",
        }
    ],
    "positions": [
        {
            "symbol": "BTCUSD_PERP",
            "positionAmt": "10",
            "initialMargin": "0.00160000",
            "maintMargin": "0.00006400",
            "unrealizedProfit": "0.00400000",
            "leverage": "10",
            "isolated": False,
            "positionSide": "BOTH",
            "entryPrice": "50000.0",
            "maxQty": "250",
        }
    ],
    "canDeposit": True,
}
BINANCE_COINM_INFORMATION: Reply = {
    "timezone": "UTC",
    "rateLimits": [],
    "symbols": [
        {
            "symbol": "BTCUSD_PERP",
            "contractType": "PERPETUAL",
            "deliveryDate": 4133404800000,
            "contractSize": 100,
            "marginAsset": "BTC",
            "baseAsset": "BTC",
            "quoteAsset": "USD",
        }
    ],
}

#: Portfolio margin: account, balance, and the UM account that repeats a part of the balance.
BINANCE_PM_ACCOUNT: Reply = {
    "uniMMR": "412.50000000",
    "accountEquity": "10065.00000000",
    "actualEquity": "10100.00000000",
    "accountInitialMargin": "610.00000000",
    "accountMaintMargin": "24.40000000",
    "accountStatus": "NORMAL",
    "totalAvailableBalance": "9455.00",
    "updateTime": 1657707212154,
}
BINANCE_PM_BALANCE: Reply = [
    {
        "asset": "USDT",
        "totalWalletBalance": "7000.00",
        "crossMarginAsset": "2000.00",
        "crossMarginBorrowed": "500.00",
        "crossMarginFree": "2000.00",
        "crossMarginInterest": "0.50",
        "crossMarginLocked": "0.00",
        "umWalletBalance": "5000.00",
        "umUnrealizedPNL": "100.00",
        "cmWalletBalance": "0.00",
        "cmUnrealizedPNL": "0.00",
        "negativeBalance": "0",
    },
    {
        "asset": "BTC",
        "totalWalletBalance": "0.06",
        "crossMarginAsset": "0.01",
        "crossMarginBorrowed": "0",
        "crossMarginFree": "0.01",
        "crossMarginInterest": "0",
        "crossMarginLocked": "0",
        "umWalletBalance": "0",
        "umUnrealizedPNL": "0",
        "cmWalletBalance": "0.05",
        "cmUnrealizedPNL": "0",
        "negativeBalance": "0",
    },
]
BINANCE_PM_UM_ACCOUNT: Reply = {
    "assets": [
        {
            "asset": "USDT",
            "crossWalletBalance": "5000.00",
            "crossUnPnl": "100.00",
            "maintMargin": "24.4",
            "initialMargin": "610",
        }
    ],
    "positions": [
        {
            "symbol": "BTCUSDT",
            "initialMargin": "610",
            "maintMargin": "24.4",
            "unrealizedProfit": "100.00",
            "leverage": "10",
            "entryPrice": "60000",
            "positionSide": "BOTH",
            "positionAmt": "0.1",
        }
    ],
}

# ------ OKX (hand-built from documentation)


def _okx(*rows: Reply) -> Reply:
    return {"code": "0", "msg": "", "data": list(rows)}


#: Multi-currency or portfolio: 8,000 USDT of cash, -0.1 BTC borrowed, 500 isolated (+20).
OKX_BALANCE: Reply = _okx(
    {
        "adjEq": "2470.10",
        "availEq": "1860.10",
        "imr": "610.00",
        "mmr": "48.80",
        "mgnRatio": "50.6",
        "isoEq": "520.00",
        "totalEq": "2520.00",
        "upl": "100.00",
        "details": [
            {
                "ccy": "USDT",
                "cashBal": "8000",
                "eq": "8620",
                "isoEq": "520",
                "isoUpl": "20",
                "upl": "120",
                "interest": "",
                "imr": "",
                "mmr": "",
                "availEq": "7390",
                "liab": "",
            },
            {
                "ccy": "BTC",
                "cashBal": "-0.1",
                "eq": "-0.1001",
                "isoEq": "0",
                "isoUpl": "0",
                "upl": "0",
                "interest": "0.0001",
                "liab": "0.1",
                "imr": "",
                "mmr": "",
            },
        ],
    }
)
OKX_POSITIONS: Reply = _okx(
    {
        "instId": "BTC-USDT-SWAP",
        "instType": "SWAP",
        "mgnMode": "cross",
        "posId": "1",
        "posSide": "net",
        "pos": "-10",
        "ccy": "USDT",
        "lever": "10",
        "markPx": "61000",
        "avgPx": "62000",
        "liqPx": "",
        "upl": "100",
        "imr": "610",
        "mmr": "24.4",
        "margin": "",
        "mgnRatio": "50.6",
        "notionalUsd": "6100",
    },
    {
        "instId": "ETH-USDT-SWAP",
        "instType": "SWAP",
        "mgnMode": "isolated",
        "posId": "2",
        "posSide": "short",
        "pos": "20",
        "ccy": "USDT",
        "lever": "20",
        "markPx": "2990",
        "avgPx": "3000",
        "liqPx": "3200.5",
        "upl": "20",
        "imr": "",
        "mmr": "24.4",
        "margin": "500",
        "mgnRatio": "21",
        "notionalUsd": "5980",
    },
)
OKX_INSTRUMENTS: Reply = _okx(
    *(
        {
            "instId": f"{coin}-USDT-SWAP",
            "instType": "SWAP",
            "ctVal": size,
            "ctMult": "1",
            "ctValCcy": coin,
            "ctType": "linear",
            "settleCcy": "USDT",
        }
        for coin, size in (("BTC", "0.01"), ("ETH", "0.1"))
    )
)
OKX_TIERS: Reply = _okx(
    *(
        {
            "instId": "BTC-USDT-SWAP",
            "instFamily": "BTC-USDT",
            "uly": "BTC-USDT",
            "tier": str(place),
            "minSz": low,
            "maxSz": high,
            "imr": im,
            "mmr": mm,
            "maxLever": lever,
            "baseMaxLoan": "",
            "quoteMaxLoan": "",
            "optMgnFactor": "0",
        }
        for place, low, high, im, mm, lever in (
            (1, "0", "500", "0.01", "0.004", "100"),
            (2, "501", "2000", "0.02", "0.005", "50"),
            (3, "2001", "10000", "0.05", "0.015", "20"),
        )
    )
)


def okx_configuration(level: int, position_mode: str = "net_mode") -> Reply:
    return _okx({"uid": "1", "acctLv": str(level), "posMode": position_mode, "autoLoan": True})


# ------ Bybit (hand-built from documentation)


def _bybit(result: Reply) -> Reply:
    return {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": 1}


def bybit_account(mode: str) -> Reply:
    return _bybit({"marginMode": mode, "unifiedMarginStatus": 5, "spotHedgingStatus": "OFF"})


BYBIT_WALLET: Reply = _bybit(
    {
        "list": [
            {
                "accountType": "UNIFIED",
                "totalEquity": "9049.5",
                "totalWalletBalance": "8800",
                "totalMarginBalance": "9050",
                "totalPerpUPL": "250",
                "totalInitialMargin": "2500",
                "totalMaintenanceMargin": "250",
                "totalAvailableBalance": "6550",
                "accountIMRate": "0.2762",
                "accountMMRate": "0.0276",
                "coin": [
                    {
                        "coin": "USDT",
                        "walletBalance": "9000",
                        "equity": "9050",
                        "unrealisedPnl": "250",
                        "borrowAmount": "200",
                        "spotBorrow": "200",
                        "accruedInterest": "0.5",
                        "usdValue": "9049.5",
                    }
                ],
            }
        ]
    }
)
BYBIT_POSITIONS: Reply = _bybit(
    {
        "category": "linear",
        "nextPageCursor": "",
        "list": [
            {
                "symbol": "BTCUSDT",
                "side": "Buy",
                "size": "0.5",
                "positionIdx": 1,
                "tradeMode": 0,
                "avgPrice": "50000",
                "markPrice": "50500",
                "liqPrice": "",
                "leverage": "10",
                "positionBalance": "2600",
                "positionIM": "2500",
                "positionMM": "250",
                "positionValue": "25000",
                "unrealisedPnl": "250",
                "sessionAvgPrice": "",
            }
        ],
    }
)
BYBIT_INVERSE: Reply = _bybit(
    {
        "category": "inverse",
        "list": [
            {
                "symbol": "BTCUSD",
                "side": "Sell",
                "size": "5000",
                "positionIdx": 0,
                "avgPrice": "50000",
                "markPrice": "40000",
                "liqPrice": "0",
                "leverage": "5",
                "unrealisedPnl": "0.025",
            },
            {
                "symbol": "BTCUSDH26",
                "side": "Buy",
                "size": "100",
                "positionIdx": 0,
                "avgPrice": "50000",
                "markPrice": "50000",
                "unrealisedPnl": "0",
            },
        ],
    }
)
BYBIT_INVERSE_INSTRUMENTS: Reply = _bybit(
    {
        "category": "inverse",
        "list": [
            {
                "symbol": "BTCUSDH26",
                "contractType": "InverseFutures",
                "baseCoin": "BTC",
                "quoteCoin": "USD",
                "settleCoin": "BTC",
                "deliveryTime": "1774598400000",  # 2026-03-27 08:00 UTC
            }
        ],
    }
)
BYBIT_OPTIONS: Reply = _bybit(
    {
        "category": "option",
        "list": [
            {
                "symbol": "BTC-27MAR26-90000-C",
                "side": "Sell",
                "size": "0.3",
                "positionIdx": 0,
                "avgPrice": "1200",
                "markPrice": "1000",
                "liqPrice": "",
                "unrealisedPnl": "60",
            },
            {
                "symbol": "ETH-27MAR26-4000-P-USDT",
                "side": "Buy",
                "size": "2",
                "positionIdx": 0,
                "avgPrice": "100",
                "markPrice": "90",
                "unrealisedPnl": "-20",
            },
        ],
    }
)
BYBIT_RISK_LIMITS: Reply = _bybit(
    {
        "category": "linear",
        "list": [
            {
                "id": place,
                "symbol": "BTCUSDT",
                "riskLimitValue": cap,
                "maintenanceMargin": mm,
                "initialMargin": im,
                "maxLeverage": lever,
                "mmDeduction": deduction,
            }
            for place, cap, mm, im, lever, deduction in (
                (1, "2000000", "0.005", "0.01", "100.00", ""),
                (2, "10000000", "0.01", "0.02", "50.00", "10000"),
                (3, "20000000", "0.02", "0.04", "25.00", "110000"),
            )
        ],
    }
)

# ------ Deribit (hand-built from documentation)


def _deribit(result: Reply) -> Reply:
    return {"jsonrpc": "2.0", "id": 1, "result": result, "testnet": False}


def _cross_row(currency: str, balance: float, equity: float, margin_balance: float) -> Reply:
    return {
        "currency": currency,
        "balance": balance,
        "equity": equity,
        "margin_balance": margin_balance,
        "futures_session_upl": 0.0,
        "options_value": equity - balance,
        "session_upl": 0.0,
        "session_rpl": 0.0,
        "initial_margin": margin_balance / 5,
        "maintenance_margin": margin_balance / 8,
        "available_funds": margin_balance * 0.8,
        "margin_model": "cross_pm",
        "cross_collateral_enabled": True,
        "portfolio_margining_enabled": True,
        "total_equity_usd": 160000.0,
        "total_margin_balance_usd": 158000.0,
        "total_initial_margin_usd": 31600.0,
        "total_maintenance_margin_usd": 19750.0,
    }


#: Cross collateral: 1 BTC and 100,000 USDC; both rows repeat the margins of the one pool.
DERIBIT_CROSS: Reply = _deribit(
    {
        "id": 10,
        "summaries": [
            _cross_row("BTC", 1.0, 1.0, 2.633333),
            _cross_row("USDC", 100000.0, 100000.0, 158000.0),
        ],
    }
)
#: Segregated BTC: 2 BTC, 0.01 realised this session, futures +0.02 this session.
DERIBIT_SEGREGATED: Reply = _deribit(
    {
        "currency": "BTC",
        "balance": 2.0,
        "equity": 2.03,
        "margin_balance": 2.03,
        "futures_session_upl": 0.02,
        "futures_session_rpl": 0.01,
        "options_value": 0.0,
        "session_upl": 0.02,
        "session_rpl": 0.01,
        "initial_margin": 0.05,
        "maintenance_margin": 0.03,
        "available_funds": 1.98,
        "delta_total": 2.0,
        "margin_model": "segregated_sm",
        "cross_collateral_enabled": False,
    }
)
#: Long 100,000 USD since 40,000; settled at 60,606.06 since; mark 61,349.69 makes +0.02 BTC.
DERIBIT_POSITIONS: Reply = _deribit(
    [
        {
            "instrument_name": "BTC-PERPETUAL",
            "kind": "future",
            "direction": "buy",
            "size": 100000.0,
            "average_price": 40000.0,
            "settlement_price": 60606.06,
            "mark_price": 61349.69,
            "index_price": 61300.0,
            "floating_profit_loss": 0.02,
            "total_profit_loss": 0.87,
            "initial_margin": 0.04,
            "maintenance_margin": 0.03,
            "leverage": 50,
            "estimated_liquidation_price": 0,
        },
        {
            "instrument_name": "ETH-PERPETUAL",
            "direction": "zero",
            "size": 0.0,
            "average_price": 0.0,
            "floating_profit_loss": 0.0,
        },
    ]
)
DERIBIT_ORDERS: Reply = _deribit(
    [
        {
            "order_id": "BTC-1",
            "instrument_name": "BTC-27MAR26-90000-C",
            "direction": "sell",
            "amount": 3.0,
            "filled_amount": 1.0,
            "price": 0.02,
            "order_state": "open",
            "order_type": "limit",
        },
        {
            "order_id": "BTC-2",
            "instrument_name": "BTC-PERPETUAL",
            "direction": "sell",
            "amount": 10000.0,
            "filled_amount": 0.0,
            "price": "market_price",
            "order_state": "untriggered",
            "order_type": "stop_market",
        },
    ]
)

# ------ Hyperliquid (hand-built from documentation)

#: Cash 1,000 in cross (+50 on BTC), 200 pledged to kPEPE (-20).
HYPERLIQUID_STATE: Reply = {
    "marginSummary": {
        "accountValue": "1230.0",
        "totalNtlPos": "7050.0",
        "totalRawUsd": "-3820.0",
        "totalMarginUsed": "485.0",
    },
    "crossMarginSummary": {
        "accountValue": "1050.0",
        "totalNtlPos": "6050.0",
        "totalRawUsd": "-5000.0",
        "totalMarginUsed": "302.5",
    },
    "crossMaintenanceMarginUsed": "75.625",
    "withdrawable": "747.5",
    "time": 1770000000000,
    "assetPositions": [
        {
            "type": "oneWay",
            "position": {
                "coin": "BTC",
                "szi": "0.1",
                "leverage": {"type": "cross", "value": 20},
                "entryPx": "60000.0",
                "positionValue": "6050.0",
                "unrealizedPnl": "50.0",
                "liquidationPx": None,
                "marginUsed": "302.5",
                "maxLeverage": 40,
            },
        },
        {
            "type": "oneWay",
            "position": {
                "coin": "kPEPE",
                "szi": "-100000",
                "leverage": {"type": "isolated", "value": 5, "rawUsd": "1180.0"},
                "entryPx": "0.0098",
                "positionValue": "1000.0",
                "unrealizedPnl": "-20.0",
                "liquidationPx": "0.011238",
                "marginUsed": "180.0",
                "maxLeverage": 10,
            },
        },
    ],
}
HYPERLIQUID_SPOT: Reply = {
    "balances": [
        {"coin": "USDC", "token": 0, "total": "500.0", "hold": "100.0", "entryNtl": "0.0"},
        {"coin": "HYPE", "token": 150, "total": "10", "hold": "0", "entryNtl": "300"},
    ]
}
HYPERLIQUID_ORDERS: Reply = [
    {"coin": "BTC", "limitPx": "59000.0", "oid": 7, "side": "B", "sz": "0.05", "timestamp": 1},
    {"coin": "@107", "limitPx": "30.0", "oid": 8, "side": "A", "sz": "1", "timestamp": 1},
]

# ------ Derive (hand-built from documentation)

DERIVE_SUBACCOUNT: Reply = {
    "id": "1",
    "result": {
        "subaccount_id": 7,
        "margin_type": "PM2",
        "currency": "all",
        "is_under_liquidation": False,
        "collaterals": [
            {
                "asset_name": "USDC",
                "asset_type": "erc20",
                "amount": "5000",
                "pending_interest": "-1.5",
                "initial_margin": "4998.5",
                "maintenance_margin": "4998.5",
                "mark_price": "1",
                "mark_value": "5000",
            },
            {
                "asset_name": "weETH",
                "asset_type": "erc20",
                "amount": "2",
                "pending_interest": "0",
                "initial_margin": "4000",
                "maintenance_margin": "5000",
                "mark_price": "3200",
                "mark_value": "6400",
            },
        ],
        "positions": [
            {
                "instrument_name": "ETH-PERP",
                "instrument_type": "perp",
                "amount": "-2",
                "average_price": "3500",
                "mark_price": "3490",
                "index_price": "3491",
                "unrealized_pnl": "20",
                "realized_pnl": "30",
                "net_settlements": "10",
                "pending_funding": "0.25",
                "initial_margin": "-400",
                "maintenance_margin": "-250",
                "leverage": None,
                "liquidation_price": None,
                "mark_value": "-6980",
            },
            {
                "instrument_name": "ETH-20260327-4000-C",
                "instrument_type": "option",
                "amount": "-3",
                "average_price": "100",
                "mark_price": "80",
                "unrealized_pnl": "60",
                "realized_pnl": "5",
                "net_settlements": "0",
                "pending_funding": "0",
                "initial_margin": "-900",
                "maintenance_margin": "-700",
                "leverage": None,
                "liquidation_price": None,
                "mark_value": "-240",
            },
        ],
        "open_orders": [
            {
                "order_id": "o-1",
                "instrument_name": "ETH-PERP",
                "direction": "buy",
                "amount": "2",
                "filled_amount": "1.5",
                "limit_price": "3400",
                "order_status": "open",
                "subaccount_id": 7,
            }
        ],
        "subaccount_value": "11198.75",
        "collaterals_value": "11400",
        "initial_margin": "7698.5",
        "maintenance_margin": "9048.5",
        "open_orders_margin": "0",
    },
}

#: Every account above as the replies of one account, for tests that go through all of them.
ACCOUNTS: dict[str, list[Reply]] = {
    "Binance USD-M": [BINANCE_ACCOUNT, BINANCE_POSITIONS],
    "Binance USD-M hedge, multi-assets": [BINANCE_ACCOUNT_V3],
    "Binance COIN-M": [BINANCE_COINM_ACCOUNT, BINANCE_COINM_INFORMATION],
    "Binance portfolio margin": [BINANCE_PM_ACCOUNT, BINANCE_PM_BALANCE, BINANCE_PM_UM_ACCOUNT],
    "OKX multi-currency": [OKX_BALANCE, OKX_POSITIONS, OKX_INSTRUMENTS, okx_configuration(3)],
    "Bybit cross": [BYBIT_WALLET, BYBIT_POSITIONS, bybit_account("REGULAR_MARGIN")],
    "Bybit isolated": [BYBIT_WALLET, BYBIT_POSITIONS, bybit_account("ISOLATED_MARGIN")],
    "Bybit inverse": [BYBIT_INVERSE, BYBIT_INVERSE_INSTRUMENTS],
    "Bybit options": [BYBIT_OPTIONS],
    "Deribit cross": [DERIBIT_CROSS],
    "Deribit segregated": [DERIBIT_SEGREGATED, DERIBIT_POSITIONS, DERIBIT_ORDERS],
    "Hyperliquid separate": [HYPERLIQUID_STATE, HYPERLIQUID_SPOT, HYPERLIQUID_ORDERS],
    "Hyperliquid unified": [HYPERLIQUID_STATE, HYPERLIQUID_SPOT, "unifiedAccount"],
    "Derive PM2": [DERIVE_SUBACCOUNT],
}
