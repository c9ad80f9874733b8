//! The connection of a session, and the means to kill what runs on it.

use crate::backend::cancel::Cancel;
use crate::backend::mysql::connection::kill_target::KillTarget;
use crate::backend::mysql::connection::mysql_opener::Opener;
use crate::pool::Checkout;

pub(crate) struct SessionConnection {
    pub(crate) checkout: Checkout<Opener>,
    pub(crate) cancel: Cancel<KillTarget>,
}
